"""`vla blackbox`: every file that can be read can be drawn; every other one is refused."""

from dataclasses import replace
import math
from pathlib import Path

from PIL import Image
import pytest

from vla_cli.main import main
from vla_core.black_box.record import Header, header_line, line_of, Note, Step

ZERO = (0.0,) * 6
STEP = Step(
    stamp_ns=0,
    tick=0,
    dt=0.02,
    state='ACTIVE',
    cause='NONE',
    causes=(),
    wanted=ZERO,
    allowed=ZERO,
    published=(0.4, 0.0, 0.0, 0.0, 0.0, -0.2),
    speed_scale=1.0,
    gripper=math.nan,
    heartbeat_age=0.01,
    chunk_age=0.02,
    observation_age=0.03,
    odom_age=math.nan,
    observation_ns=5,
    policy_run=7,
    sequence=3,
    step_index=-1,
    instruction_id=1,
    chunk_status='RUNNING',
    errors_total=0,
    consecutive_errors=0,
)
NOTE = Note(0, 'TRANSITION', 'ACTIVE', 'ESTOP', 'X', '', math.nan, math.nan, '$\\frac{1}{$ "a"')
BAD = (math.nan, math.inf, -math.inf, 1e308, 0.0, 0.0)
LIMITS = {'linear.x': {'max_speed': 0.6}, 'angular.z': {'max_speed': 1.2}}


def write(path: Path, *entries: Step | Note, limits=LIMITS, tail: bytes = b'') -> Path:
    header = Header(
        'ESTOP: X', 400_000_000, '2026-01-02T03:04:05.678+00:00', 'sim', 'left', limits
    )
    lines = [header_line(header), *map(line_of, entries)]
    path.write_bytes(b'\n'.join(lines) + b'\n' + tail)
    return path


def drive(**last) -> list[Step]:
    """Half a second of driving; the last steps are different."""
    steps = [replace(STEP, tick=tick, stamp_ns=20_000_000 * tick) for tick in range(30)]
    return [*steps[:20], *(replace(step, **last) for step in steps[20:])]


def drawn(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


def test_a_drive_is_told_and_drawn_beside_its_file(tmp_path, capsys):
    stop = drive(state='ESTOP', cause='ESTOP_INPUT', causes=('ESTOP_INPUT',), published=ZERO)
    path = write(tmp_path / 'a.jsonl', *stop[:10], *stop[12:], NOTE, tail=b'{"kind":"st')
    assert main(['blackbox', str(path)]) == 0
    said = capsys.readouterr().out
    assert 'ESTOP: X, robot sim' in said
    assert '2 lost on the way, 1 events' in said
    assert '-0.40 s  ACTIVE' in said
    assert '+0.00 s  ESTOP            ESTOP_INPUT        +0.00 m/s' in said
    assert 'torn: line' in said
    assert drawn(tmp_path / 'a.png')[0] > 1000


@pytest.mark.parametrize(
    ('entries', 'limits'),
    [
        ([replace(STEP, published=ZERO)], {}),
        (drive(published=BAD, heartbeat_age=math.nan, chunk_age=math.inf), LIMITS),
        (drive(state='SOMETHING NEW', causes=tuple(f'CAUSE_{n}' for n in range(16))), {}),
    ],
    ids=['one step at rest', 'not finite', 'newer names'],
)
def test_odd_recordings_are_drawn_too(tmp_path, entries, limits):
    path = write(tmp_path / 'a.jsonl', *entries, limits=limits)
    picture = tmp_path / 'picture.png'
    assert main(['blackbox', str(path), '--output', str(picture)]) == 0
    assert drawn(picture)[0] > 1000


def test_what_cannot_be_drawn_is_an_error_of_one_line(tmp_path, capsys):
    good = write(tmp_path / 'a.jsonl', STEP)
    for arguments, complaint in (
        ([str(tmp_path / 'none.jsonl')], 'No such file'),
        ([str(write(tmp_path / 'b.jsonl'))], 'it holds none'),
        ([str(write(tmp_path / 'c.jsonl', tail=b'{'))], 'no step is readable; line 2'),
        ([str(good), '--output', str(tmp_path / 'x.docx')], 'expected a picture'),
        ([str(good), '--output', str(tmp_path / 'no' / 'x.png')], 'No such file'),
    ):
        assert main(['blackbox', *arguments]) == 1
        error = capsys.readouterr().err
        assert complaint in error
        assert error.count('\n') == 1
