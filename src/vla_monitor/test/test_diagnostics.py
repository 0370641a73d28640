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
from vla_monitor.messages import describe, diagnostics_to_msg

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
        health.hops.image(stamp, now, 0.004)
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
