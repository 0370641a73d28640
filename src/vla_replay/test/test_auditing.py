"""`vla bag audit`: a live drive keeps the limits, and what breaks them is found."""

import itertools
from pathlib import Path

import pytest
from rclpy.serialization import deserialize_message, serialize_message

from vla_cli.main import main
from vla_interfaces.msg import Decision, SafetyState
from vla_replay.bag.reader import BagReader
from vla_replay.bag.writer import BagWriter

TOPIC = '/safety/decision'
TYPE = 'vla_interfaces/msg/Decision'


def spoiled(drive: Path, folder: Path, **changes: object) -> str:
    """Copy the decisions of a drive, one of them changed: the last that drives."""
    with BagReader(drive) as bag:
        told = [
            (one.stamp_ns, deserialize_message(one.data, Decision))
            for one in bag.messages({TOPIC})
        ]
    # One whose step before is there: of others no change is judged.
    pairs = itertools.pairwise(msg for _, msg in told)
    driving = [
        msg
        for before, msg in pairs
        if msg.tick == before.tick + 1 and msg.state == SafetyState.STATE_ACTIVE
    ]
    msg = driving[-1]
    for name, value in changes.items():
        if name == 'forward':
            msg.published.linear.x = value
        else:
            setattr(msg, name, value)
    with BagWriter(folder) as writer:
        writer.add_topic(TOPIC, TYPE)
        for stamp_ns, msg in told:
            writer.write(TOPIC, stamp_ns, serialize_message(msg))
    return str(folder)


def test_a_live_drive_kept_the_limits(drive: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['bag', 'audit', str(drive)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert int(said[0].split()[0]) > 100
    assert said[1:4] == [
        'beyond a speed limit of sim, or not finite: 0',
        'beyond acceleration × dt: 0, of them at ends of chunks: 0',
        'other than zero where nothing may move: 0',
    ]


@pytest.mark.parametrize(
    ('changes', 'line', 'expected'),
    [
        ({'forward': 9.0}, 1, 'beyond a speed limit of sim, or not finite: 1'),
        ({'forward': float('nan')}, 1, 'beyond a speed limit of sim, or not finite: 1'),
        ({'forward': -0.2}, 2, 'beyond acceleration × dt: '),
        (
            {'forward': 0.1, 'state': SafetyState.STATE_STOPPED},
            3,
            'other than zero where nothing may move: 1',
        ),
    ],
)
def test_a_command_against_the_limits_is_found(
    drive: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, object],
    line: int,
    expected: str,
) -> None:
    assert main(['bag', 'audit', spoiled(drive, tmp_path / 'spoiled', **changes)]) == 1
    said = capsys.readouterr().out.splitlines()[line]
    assert said.startswith(expected)
    assert not said.startswith('beyond acceleration × dt: 0')


def test_a_dt_longer_than_the_time_that_passed_is_found(
    drive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A gate that takes its steps for longer accelerates faster, and says that it did not."""
    with BagReader(drive) as bag, BagWriter(tmp_path / 'lying') as writer:
        writer.add_topic(TOPIC, TYPE)
        for one in bag.messages({TOPIC}):
            msg = deserialize_message(one.data, Decision)
            msg.dt *= 2.0
            writer.write(TOPIC, one.stamp_ns, serialize_message(msg))
    assert main(['bag', 'audit', str(tmp_path / 'lying')]) == 1
    said = capsys.readouterr().out
    assert 'beyond acceleration × dt: 0, of them' in said
    assert 'dt runs ahead of the stamps by up to ' in said


@pytest.mark.parametrize(
    ('arguments', 'expected'),
    [
        (['--topic', '/no'], 'no topic /no'),
        (['--topic', '/cmd_vel'], f'expected {TYPE}'),
        (['--robot', 'none'], 'none'),
    ],
)
def test_what_cannot_be_judged_is_named(
    drive: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str
) -> None:
    assert main(['bag', 'audit', str(drive), *arguments]) == 1
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize(
    ('changes', 'expected'),
    [
        ({'state': 99}, '99 is not a valid State'),
        ({'dt': float('nan'), 'forward': -0.2}, 'dt nan: expected finite, >= 0'),
        ({'dt': -1.0}, 'dt -1.0: expected finite, >= 0'),
    ],
)
def test_a_decision_that_no_gate_makes_is_named(
    drive: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, object],
    expected: str,
) -> None:
    assert main(['bag', 'audit', spoiled(drive, tmp_path / 'spoiled', **changes)]) == 1
    assert expected in capsys.readouterr().err


def test_a_bag_without_a_decision_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with BagWriter(tmp_path / 'empty') as writer:
        writer.add_topic(TOPIC, TYPE)
    assert main(['bag', 'audit', str(tmp_path / 'empty')]) == 1
    assert f'no decision on {TOPIC}' in capsys.readouterr().err
