"""`vla blackbox`: every file that can be read can be drawn; every other one is refused."""

from dataclasses import replace
import math
from pathlib import Path

from PIL import Image
import pytest

from vla_cli.black_box import events, MOST_EVENTS
from vla_cli.black_box_picture import _drawn
from vla_cli.main import main
from vla_core.black_box.record import Header, header_line, line_of, Note, read, Step
from vla_core.robot import AXES, AXIS_UNITS

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


def write(
    path: Path, *entries: Step | Note, limits=LIMITS, tail: bytes = b'', trigger: str = 'ESTOP: X'
) -> Path:
    header = Header(trigger, 400_000_000, '2026-01-02T03:04:05.678+00:00', 'sim', 'left', limits)
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
    assert '+0.00 s  ESTOP            ESTOP_INPUT        linear.x +0.00 m/s, angular.z' in said
    assert '-0.40 s  $\\frac{1}{$ "a"' in said
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
    folder = tmp_path / 'folder.png'
    folder.mkdir()
    for arguments, complaint in (
        ([str(tmp_path / 'none.jsonl')], 'No such file'),
        ([str(write(tmp_path / 'b.jsonl'))], 'it holds none'),
        ([str(write(tmp_path / 'c.jsonl', tail=b'{'))], 'no step is readable; line 2'),
        ([str(good), '--output', str(tmp_path / 'x.docx')], 'expected a picture'),
        ([str(good), '--output', str(tmp_path / 'no' / 'x.png')], 'No such file'),
        ([str(good), '--output', str(tmp_path / 'picture')], 'expected a picture'),
        ([str(good), '--output', str(tmp_path)], 'expected a picture'),
        ([str(good), '--output', str(folder)], 'expected a picture'),
    ):
        assert main(['blackbox', *arguments]) == 1
        error = capsys.readouterr().err
        assert complaint in error
        assert error.count('\n') == 1
    assert not (tmp_path / 'picture.png').exists()


@pytest.mark.parametrize('axis', range(6))
def test_every_axis_that_moved_is_told(tmp_path, capsys, axis):
    speeds = tuple(0.5 * (index == axis) for index in range(6))
    path = write(tmp_path / 'a.jsonl', replace(STEP, published=speeds), limits={})
    assert main(['blackbox', str(path)]) == 0
    assert f' {AXES[axis]} +0.50 {AXIS_UNITS[axis]}\n' in capsys.readouterr().out


def notes(count: int, begin_ns: int) -> list[Note]:
    """Chatter, 60 ms apart."""
    chatter = replace(NOTE, what='REJECTED', from_state='ESTOP', text='chatter')
    return [replace(chatter, stamp_ns=begin_ns + 60_000_000 * index) for index in range(count)]


def test_the_reason_of_the_trigger_is_not_pushed_out_by_what_came_after(tmp_path):
    began = replace(NOTE, from_state='STOPPED', to_state='ACTIVE', text='began')
    reason = replace(NOTE, stamp_ns=400_100_000, text='5 errors of policy, limit 5')
    path = write(
        *(tmp_path / 'a.jsonl', STEP, *notes(20, -2_000_000_000), began, reason),
        *notes(20, 500_000_000),
    )
    lines = events(read(path))
    assert len(lines) == MOST_EVENTS + 1
    assert lines[0] == '   -0.40 s  began'
    assert lines[1] == '   +0.00 s  5 errors of policy, limit 5'
    assert [line.split()[0] for line in lines[2:8]] == [
        f'{0.1 + 0.06 * index:+.2f}' for index in range(14, 20)
    ]
    assert lines[8] == '34 more events in the file'


def test_of_many_changes_of_state_those_nearest_to_the_trigger_are_told(tmp_path):
    changes = [
        replace(NOTE, stamp_ns=400_000_000 + 1_000_000_000 * second, text=f'change {second}')
        for second in range(-20, 2)
    ]
    lines = events(read(write(tmp_path / 'a.jsonl', STEP, *changes)))
    assert [line.split()[-1] for line in lines[:-1]] == [str(second) for second in range(-6, 2)]


def test_no_text_of_a_file_controls_the_terminal(tmp_path, capsys):
    evil = '\x1b]0;PWNED\x07\x1b[2J$\\frac{$'
    step = replace(STEP, state=evil, cause=evil, causes=(evil,))
    path = write(tmp_path / 'a.jsonl', step, replace(NOTE, text=evil), trigger=evil)
    assert main(['blackbox', str(path)]) == 0
    said = capsys.readouterr().out
    assert said.count('PWNED') == 4
    assert all(line.isprintable() for line in said.splitlines())


@pytest.mark.parametrize(('age', 'top'), [(0.03, 2.0), (3.0, 3.0), (7200.0, 5.0)])
def test_ages_are_drawn_to_the_limits_of_the_robot_and_as_far_as_they_went(tmp_path, age, top):
    limits = {**LIMITS, 'observation_age': {'lapsed': 2.0}, 'odom_age': {'lost': 0.5}}
    steps = drive(observation_age=age)
    recording = read(write(tmp_path / 'a.jsonl', *steps, limits=limits))
    (panel,) = [one for one in _drawn(recording).axes if one.get_ylabel() == 'age\ns']
    assert panel.get_ylim()[1] == pytest.approx(1.4 * top)
    levels = [line.get_ydata()[0] for line in panel.lines if line.get_linestyle() == ':']
    assert levels == [2.0, 0.0], 'no odom was heard: no limit of it; the last is the trigger'
