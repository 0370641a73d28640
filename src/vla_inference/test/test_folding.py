"""The text encoder in little memory: the same bits, whatever becomes of the child."""

import logging
from pathlib import Path
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from vla_core.errors import CheckpointError
from vla_core.manifest import load_manifest
from vla_core.types import Observation
from vla_inference import folding, onnx_policy
from vla_inference.encoder import locate, TokenEncoder
from vla_inference.folding import give_back, open_folded
from vla_inference.sessions import open_session

DEMO = Path(__file__).parents[2] / 'vla_bringup' / 'checkpoints' / 'demo'
TEXTS = ['turn left', 'go to the red box', 'x', 'find the ball left of the green box ' * 8, 'é 盒']
#: MiB that the process may hold once the encoder is open: half of what it held without a child.
HELD = 90


@pytest.fixture(scope='module')
def model():
    return locate(load_manifest(DEMO).language)


def encoder(model, open_graph):
    return TokenEncoder(model, DEMO / 'tokenizer.json', 64, 1, open_graph)


def test_embeddings_are_equal_to_the_bit(model):
    folded, direct = (encoder(model, opener) for opener in (open_folded, open_session))
    for text in TEXTS:
        np.testing.assert_array_equal(folded(text), direct(text))


def test_actions_are_equal_to_the_bit(monkeypatch):
    pictures = np.random.default_rng(0).integers(0, 256, (5, 96, 192, 3), np.uint8)

    def actions():
        policy = onnx_policy.OnnxPolicy(DEMO)
        try:
            return [
                policy.infer(Observation({'front': picture}, 0), policy.encode(text)).actions
                for text in TEXTS
                for picture in pictures
            ]
        finally:
            policy.close()

    folded = actions()
    opened = []
    monkeypatch.setattr(
        onnx_policy, 'open_folded', lambda *given: opened.append(1) or open_session(*given)
    )
    np.testing.assert_array_equal(folded, actions())
    assert opened == [1]


def test_process_stays_small(model):
    program = (
        'import psutil, sys; from pathlib import Path\n'
        'from vla_inference.folding import open_folded\n'
        'from vla_inference.encoder import TokenEncoder\n'
        'held = lambda: psutil.Process().memory_info().rss\n'
        'before = held()\n'
        'encode = TokenEncoder(Path(sys.argv[1]), Path(sys.argv[2]), 64, 1, open_folded)\n'
        'encode("go to the red box")\n'
        'print((held() - before) >> 20)\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', program, str(model), str(DEMO / 'tokenizer.json')],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < HELD


@pytest.mark.parametrize(
    ('program', 'patience', 'said'),
    [
        ('import sys; sys.exit("no space")', 30.0, 'no space'),
        ('import os; os.kill(os.getpid(), 9)', 30.0, 'ended with -9'),
        ('import time; time.sleep(60)', 0.2, 'timed out'),
        ('pass', 30.0, 'NO_SUCHFILE'),
    ],
)
def test_child_that_fails_costs_memory_only(
    model, monkeypatch, tmp_path, caplog, program, patience, said
):
    script = tmp_path / 'python'
    script.write_text(f'#!{sys.executable}\n{program}\n')
    script.chmod(0o700)
    monkeypatch.setattr(folding.sys, 'executable', str(script))
    with caplog.at_level(logging.WARNING):
        session = open_folded(model, patience=patience)
    assert 'in more memory' in caplog.text
    assert said in caplog.text
    np.testing.assert_array_equal(
        encoder(model, lambda *_: session)('turn left'), encoder(model, open_session)('turn left')
    )


def test_nothing_is_left_in_the_temporary_folder(model, monkeypatch, tmp_path):
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path))
    session = open_folded(model)
    assert not list(tmp_path.iterdir())
    del session


def test_what_is_no_graph_is_refused(tmp_path):
    (tmp_path / 'model.onnx').write_bytes(b'no graph')
    with pytest.raises(CheckpointError, match=r'model\.onnx'):
        open_folded(tmp_path / 'model.onnx')


def test_memory_is_given_back_where_the_library_can(monkeypatch):
    given = []
    monkeypatch.setattr(
        folding.ctypes, 'CDLL', lambda _: SimpleNamespace(malloc_trim=given.append)
    )
    give_back()
    assert given == [0]
    monkeypatch.setattr(folding.ctypes, 'CDLL', lambda _: SimpleNamespace())
    give_back()
    assert given == [0]
