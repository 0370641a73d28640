"""The text encoder in little memory: the same bits, whatever becomes of the file."""

import logging
from pathlib import Path
import resource
import signal
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
#: MiB that the process may hold once the encoder is open: half of what it holds unfolded.
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


def test_folder_that_cannot_be_written_costs_memory_only(model, monkeypatch, tmp_path, caplog):
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path / 'missing'))
    check_fallback(model, caplog, 'No such file')


def test_disk_that_is_full_costs_memory_only(model, caplog):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handled = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    try:
        check_fallback(model, caplog, 'model.onnx')
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handled)


def test_file_that_is_damaged_costs_memory_only(model, monkeypatch, caplog):
    monkeypatch.setattr(
        folding, '_fold', lambda model, graph, threads: graph.write_bytes(b'no graph')
    )
    check_fallback(model, caplog, 'graph.onnx')


def check_fallback(model, caplog, said):
    with caplog.at_level(logging.WARNING):
        session = open_folded(model)
    assert 'opened unfolded, in more memory' in caplog.text
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
