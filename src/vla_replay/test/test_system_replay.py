"""A live drive, and the same through the real graph in lock-step."""

from __future__ import annotations

from dataclasses import replace
import hashlib
import json
from pathlib import Path
import re
import shutil
import struct

import numpy as np
import pytest
import yaml

from vla_core.gate.causes import State
from vla_core.manifest import folder_digest
from vla_core.types import Status
from vla_replay.cli import replay
from vla_replay.compare import compare, Tolerance
from vla_replay.options import Bless, Check
from vla_replay.trace import load
from vla_ros.files import checkpoint_path

DATA = Path(__file__).parent / 'data'
BAG = DATA / 'red_ball'


@pytest.fixture(scope='module')
def golden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What this machine makes of the regression bag."""
    folder = tmp_path_factory.mktemp('golden')
    file = folder / 'golden.npz'
    assert replay(Bless(BAG, golden=file, output=folder / 'log')) == 0
    return file


def perturbed(folder: Path) -> Path:
    """Copy the shipped checkpoint and change one number of its network: turning, step 0."""
    shutil.copytree(checkpoint_path('demo'), folder)
    network = folder / 'policy.onnx'
    content = bytearray(network.read_bytes())
    # An ONNX tensor: its name, field 9 of wire type 2 (0x4a), 56 floats of 4 bytes
    # (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
    head = b'policy.action.bias' + b'\x4a' + bytes((0xE0, 0x01))
    assert content.count(head) == 1
    at = content.index(head) + len(head) + 4 * 5
    (bias,) = struct.unpack_from('<f', content, at)
    struct.pack_into('<f', content, at, bias + 0.01)
    network.write_bytes(content)
    manifest = folder / 'manifest.yaml'
    values = yaml.safe_load(manifest.read_text())
    values['files']['policy.onnx'] = hashlib.sha256(content).hexdigest()
    # What the file says of itself is true: nothing but the replay can tell.
    values['parity']['files_sha256'] = folder_digest(folder)
    manifest.write_text(yaml.safe_dump(values, sort_keys=False))
    return folder


def test_a_live_drive_and_its_replay_are_the_same(drive: Path, tmp_path: Path):
    assert replay(Check(drive, output=tmp_path)) == 0
    content = json.loads((tmp_path / 'check.json').read_text())
    checks = {check['name']: check for check in content['checks']}
    assert checks['chunk linear.x']['n'] > 100
    assert checks['chunk angular.z']['worst'] <= 1e-6
    assert (tmp_path / 'tracks.png').stat().st_size > 10_000


def test_two_replays_are_equal_to_the_bit(golden: Path, tmp_path: Path):
    again = tmp_path / 'again.npz'
    assert replay(Bless(BAG, golden=again, output=tmp_path)) == 0
    first, second = load(golden), load(again)
    assert all(check.worst == 0.0 for check in compare(first, second, Tolerance()))
    assert first.chunks.data.tobytes() == second.chunks.data.tobytes()
    # The policy has moved the robot, under a gate that let it.
    assert first.decisions is not None
    assert set(first.decisions.state) == {State.ACTIVE}
    assert np.abs(first.decisions.published).max() > 0.1
    assert Status.RUNNING in first.chunks.status


def test_one_changed_weight_fails_and_is_named(
    golden: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    changed = perturbed(tmp_path / 'demo')
    output = tmp_path / 'check'
    assert replay(Check(BAG, golden=golden, policy=str(changed), output=output)) == 1
    said = ' '.join(capsys.readouterr().out.split())
    assert re.search(
        r'chunk angular\.z: 0\.0\d+ rad/s apart at step 0 of frame \d+\.\d{9} \(', said
    )
    assert 'published angular.z:' in said
    content = json.loads((output / 'check.json').read_text())
    assert content['passed'] is False
    assert 'failure' in (output / 'check.xml').read_text()


def test_another_recording_or_instruction_is_not_judged(
    golden: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    options = Check(BAG, golden=golden, output=tmp_path, stop=1.5, policy='scripted')
    assert replay(options) == 2
    assert "part of the recording is '0 to 1.5 s'" in capsys.readouterr().err
    assert replay(replace(options, golden=tmp_path / 'none.npz')) == 2
    assert 'vla replay bless' in capsys.readouterr().err
    assert replay(replace(options, bag=tmp_path / 'nothing')) == 2
    assert 'no such file' in capsys.readouterr().err
    assert replay(replace(options, linear=float('nan'))) == 2
    assert 'linear is nan' in capsys.readouterr().err


@pytest.mark.parametrize('source', ['golden', 'live'])
def test_a_part_in_which_no_policy_is_asked_is_not_judged(
    golden: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str
):
    """Any policy would pass: the first text comes later."""
    file = golden if source == 'golden' else None
    options = Check(BAG, golden=file, output=tmp_path, stop=0.5, policy='scripted')
    assert replay(options) == 2
    assert 'none of them an answer of the policy' in capsys.readouterr().err


def test_a_later_part_is_held_against_the_same_part_of_the_live_drive(tmp_path: Path):
    """The text came before it, and the drive was longer than it."""
    options = Check(BAG, output=tmp_path, start=2.0, stop=3.0)
    assert replay(replace(options, linear=10.0, angular=10.0, other=10.0)) == 0
    content = json.loads((tmp_path / 'check.json').read_text())
    (pairs,) = [one for one in content['checks'] if one['name'] == 'frames without a pair']
    assert pairs['worst'] <= 0.05
    assert 10 < pairs['n'] < 40


def test_the_regression_bag_gives_what_it_gave(golden: Path):
    """Other processors round otherwise: 1e-4, where the same one is equal to the bit."""
    committed = load(DATA / 'red_ball.npz')
    checks = compare(committed, load(golden), Tolerance(1e-4, 1e-4, 1e-4))
    assert [check.failure for check in checks if check.failure] == []
    assert committed.facts['content'] == load(golden).facts['content']
    assert committed.chunks.texts == ('', 'go to the red ball')
    assert Status.DONE in committed.chunks.status
