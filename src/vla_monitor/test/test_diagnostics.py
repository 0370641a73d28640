"""What tools read on /diagnostics, against a file: a rename there breaks a dashboard."""

from collections.abc import Iterator
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
import numpy as np
import pytest
from std_msgs.msg import Header

from vla_core.graph_health import Beat, GraphHealth, MonitorConfig
from vla_core.types import ActionChunk, NATIVE_AXES, NATIVE_UNITS, Status
from vla_interfaces.msg import Heartbeat, Instruction
from vla_monitor.messages import beat_from_msg, describe, diagnostics_to_msg, name_of

#: To renew it after a change that is meant: write what `told` gives into it, and read the diff.
GOLDEN = Path(__file__).parent / 'data' / 'diagnostics.txt'
NODES = ('gate', 'policy', 'camera/front')
LEVELS = {
    DiagnosticStatus.OK: 'OK',
    DiagnosticStatus.WARN: 'WARN',
    DiagnosticStatus.ERROR: 'ERROR',
    DiagnosticStatus.STALE: 'STALE',
}
FRAMES, FRAME = 40, 0.04


def drive(health: GraphHealth, beat: Beat, inference: float) -> float:
    """Play frames through the graph, 25 ms from the camera to the command; return the time."""
    # Binary fractions and whole milliseconds, so that no sum depends on the machine.
    data = np.tile([0.25, 0.0, 0.0, 0.0, 0.0, 0.125, 1.0], (8, 1))
    for index in range(FRAMES):
        stamp, now = 1_000_000_000 + index * 40_000_000, index * FRAME
        for name in NODES:
            health.heartbeat(name, now, beat)
        health.image('camera/front', stamp, now, 0.004)
        health.chunk(
            ActionChunk(
                stamp_ns=stamp,
                observation_stamp_ns=stamp,
                step_dt=0.1,
                sequence=index,
                names=NATIVE_AXES,
                units=NATIVE_UNITS,
                data=data,
                status=Status.RUNNING,
                policy_run=7,
                instruction_id=4,
                inference_seconds=inference,
            ),
            now + 0.02,
        )
        health.hops.decision(stamp, now + 0.02, 0.025)
    record = Instruction(id=4, text='go to the red box', status=Instruction.STATUS_RUNNING)
    health.instruction = describe(record)
    return FRAMES * FRAME


def situations() -> Iterator[tuple[str, DiagnosticArray]]:
    """Give the three that a person has to tell apart: nobody there, all well, in trouble."""
    well = Beat(Heartbeat.STATE_WAITING, progress=40)
    failing = Beat(
        Heartbeat.STATE_WAITING,
        progress=40,
        errors_total=9,
        consecutive_errors=6,
        detail='step 3: expected 12',
    )
    silent = GraphHealth(MonitorConfig(robot='sim'))
    yield 'nobody is heard', diagnostics_to_msg(silent.report(5.0), Header(), '')
    health = GraphHealth(MonitorConfig(robot='sim'))
    now = drive(health, well, 0.012)
    yield 'all is well, robot /one', diagnostics_to_msg(health.report(now), Header(), '/one')
    trouble = GraphHealth(MonitorConfig(robot='sim', warm_up=0))
    now = drive(trouble, failing, 0.9)
    yield 'errors and slow answers', diagnostics_to_msg(trouble.report(now), Header(), '')


def told() -> str:
    """Write every status out: level, name, message, and each value below."""
    lines: list[str] = []
    for title, array in situations():
        lines.append(f'# {title}')
        for status in array.status:
            robot = f' [{status.hardware_id}]' if status.hardware_id else ''
            lines.append(f'{LEVELS[status.level]} {status.name}{robot}: {status.message}')
            lines += [f'    {pair.key}: {pair.value}' for pair in status.values]
    return '\n'.join(lines) + '\n'


def test_diagnostics_are_those_of_the_golden_file() -> None:
    assert told() == GOLDEN.read_text()


@pytest.mark.parametrize('level', ['OK', 'ERROR'])
def test_golden_file_has_good_and_bad_news(level: str) -> None:
    assert any(line.startswith(f'{level} ') for line in GOLDEN.read_text().splitlines())


def statuses_of(health: GraphHealth, now: float) -> dict[str, DiagnosticStatus]:
    array = diagnostics_to_msg(health.report(now), Header(), '')
    return {status.name: status for status in array.status}


def test_what_delivers_nothing_any_more_is_no_ok() -> None:
    health = GraphHealth(MonitorConfig(robot='sim'))
    begun = drive(health, Beat(Heartbeat.STATE_WAITING), 0.012)
    hung = Beat(Heartbeat.STATE_BUSY, state_age=7200.0)
    health.heartbeat('sim', begun + 7197.0, hung)
    for name in NODES:
        health.heartbeat(name, begun + 7200.0, hung)
    found = statuses_of(health, begun + 7200.0)
    assert LEVELS[found['vla'].level] == 'ERROR'
    assert found['vla/node/camera/front'].message == 'camera/front: no image for 7200 s'
    assert found['vla/node/policy'].message == 'policy: busy for 7200.0 s: expected at most 0.5 s'
    assert LEVELS[found['vla/node/gate'].level] == 'OK'
    assert LEVELS[found['vla/node/sim'].level] == 'WARN'
    assert found['vla/node/sim'].message == 'last heard 3.0 s ago'
    for name, status in found.items():
        if '/hop/' in name:
            assert LEVELS[status.level] == 'WARN'
            assert status.message == 'nothing for 7200 s'
            assert {pair.value for pair in status.values if '[s]' in pair.key} == {'unknown'}


def test_hop_that_is_silent_since_the_policy_is_idle_says_so_and_is_ok() -> None:
    health = GraphHealth(MonitorConfig(robot='sim'))
    begun = drive(health, Beat(Heartbeat.STATE_WAITING), 0.012)
    for name in NODES:
        health.heartbeat(name, begun + 60.0, Beat(Heartbeat.STATE_IDLE))
    health.image('camera/front', 1, begun + 60.0, 0.004)
    status = statuses_of(health, begun + 60.0)['vla/hop/inference']
    assert (LEVELS[status.level], status.message) == ('OK', 'nothing for 60 s')


def test_names_and_details_that_others_send_are_printable() -> None:
    evil = '\x1b]0;PWNED\x07\x1b[2Jx\n'
    heard = Heartbeat(node=evil, slot=evil, detail=evil, warning=evil, state_age=3.0)
    beat = beat_from_msg(heard)
    for text in (name_of(heard), beat.detail, beat.warning):
        assert text.isprintable()
        assert 'PWNED' in text
    assert beat.state_age == 3.0
