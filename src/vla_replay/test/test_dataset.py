"""What of a drive becomes a data set, and what does not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
import json
from pathlib import Path
import shutil

from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
import numpy as np
import pytest
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import Float64, String
import yaml

from vla_cli.main import main
from vla_core.errors import VlaError
from vla_core.gate.causes import State
from vla_core.session import Fate
from vla_core.types import NATIVE_AXES
from vla_interfaces.msg import ActionChunk, Decision, Instruction
from vla_replay.bag.reader import BagReader
from vla_replay.bag.tools import trim
from vla_replay.bag.writer import BagWriter
from vla_replay.conversion.dataset import Tally, to_dataset
from vla_replay.conversion.drive import Drive
from vla_replay.conversion.film import Film, to_video
from vla_replay.errors import BagError
from vla_replay.message_types import type_name
from vla_replay.options import ToDataset, ToVideo
from vla_ros.conversion import to_time
from vla_ros.files import checkpoint_path

BEGIN = 1_700_000_000 * 10**9
MS = 10**6
TEXT = 'go to the red box'

Said = tuple[int, str, object]


def frame(at: int, encoding: str = 'rgb8', height: int = 4) -> Said:
    image = Image(height=height, width=6, encoding=encoding, step=18)
    image.header.stamp = to_time(BEGIN + at * MS)
    image.data = np.full(18 * height, at // 100 % 200 + 20, np.uint8).tobytes()
    return at, '/camera/color/image_raw', image


def odom(at: int) -> Said:
    msg = Odometry()
    msg.header.stamp = to_time(BEGIN + at * MS)
    return at, '/odom', msg


def command(at: int, speed: float = 0.2) -> Said:
    twist = Twist()
    twist.linear.x = speed
    return at, '/cmd_vel', twist


def decision(at: int, state: State) -> Said:
    msg = Decision(state=state)
    msg.header.stamp = to_time(BEGIN + at * MS)
    return at, '/safety/decision', msg


def chunk(at: int, speed: float) -> Said:
    """An answer to the frame of that time, which comes 30 ms later."""
    answer = [speed, *[0.0] * 6]
    msg = ActionChunk(names=NATIVE_AXES, predicted=[*answer, *[9.0] * 7], model_id='demo')
    msg.observation_stamp = to_time(BEGIN + at * MS)
    return at + 30, '/vla/action_chunk', msg


def record(at: int, number: int, text: str, fate: Fate, run: int = 7) -> Said:
    msg = Instruction(id=number, text=text, status=fate, policy_run=run)
    msg.header.stamp = to_time(BEGIN + at * MS)
    return at, '/vla/instruction', msg


def drive(folder: Path, *further: Said, still: int = 0, with_odom: bool = True, **facts) -> Path:
    """Write 4 s: frames, commands and odometry, of which `still` ms at rest at the beginning."""
    times = range(0, 4000, 100)
    said: list[Said] = [command(at, 0.2 if at >= still else 0.0) for at in times]
    said += [odom(at) for at in times] if with_odom else []
    return write(folder, [*said, *map(frame, times), *further], facts)


def write(folder: Path, said: Iterable[Said], facts: Mapping[str, str]) -> Path:
    with BagWriter(folder, custom=facts) as writer:
        for at, topic, msg in sorted(said, key=lambda one: one[0]):
            writer.add_topic(topic, type_name(type(msg)))
            writer.write(topic, BEGIN + at * MS, serialize_message(msg))
    return folder


def convert(tmp_path: Path, *bags: Path, **options) -> tuple[Tally, list[str]]:
    pytest.importorskip('pyarrow')
    notes: list[str] = []
    tally = to_dataset(ToDataset(tmp_path / 'data', bags, **options), notes.append)
    return tally, notes


def ends(bag: Path, instruction: str = '') -> list[tuple[str, str]]:
    with BagReader(bag) as reader:
        return [(one.text, one.end) for one in Drive(reader).segments(instruction)]


def test_a_demonstration_that_was_cut_off_is_no_good_one(tmp_path: Path):
    cut_off = drive(tmp_path / 'cut', instruction=TEXT)
    whole = drive(tmp_path / 'whole', instruction=TEXT, label='success')
    assert ends(cut_off) == ends(cut_off, TEXT) == [(TEXT, 'UNFINISHED')]
    assert ends(drive(tmp_path / 'other'), TEXT) == [(TEXT, '')]
    tally, _ = convert(tmp_path, cut_off, whole)
    assert tally.episodes == 1
    assert tally.left_out == {'episode that ended UNFINISHED': 1}


def test_an_instruction_that_still_runs_at_the_end_is_unfinished(tmp_path: Path):
    bag = drive(
        tmp_path / 'bag',
        record(0, 1, 'turn left', Fate.RUNNING),
        record(1900, 1, 'turn left', Fate.DONE),
        record(2000, 2, TEXT, Fate.RUNNING),
    )
    assert ends(bag) == [('turn left', 'DONE'), (TEXT, 'UNFINISHED')]


def test_a_policy_that_begins_anew_takes_no_instruction_along(tmp_path: Path):
    bag = drive(
        tmp_path / 'bag',
        record(0, 1, 'turn left', Fate.RUNNING),
        record(2000, 1, TEXT, Fate.RUNNING, run=8),
        record(3900, 1, TEXT, Fate.DONE, run=8),
    )
    assert ends(bag) == [('turn left', 'UNFINISHED'), (TEXT, 'DONE')]


def test_plain_texts_hold_until_the_next_one_or_a_stop_word(tmp_path: Path):
    texts = [(0, 'turn left'), (1500, 'turn right'), (2500, 'stop'), (3000, TEXT)]
    said = [(at, '/command', String(data=text)) for at, text in texts]
    bag = drive(tmp_path / 'bag', *said)
    assert ends(bag) == [('turn left', ''), ('turn right', ''), (TEXT, '')]
    tally, _ = convert(tmp_path, bag)
    assert tally.episodes == 3
    assert tally.frames == 35


def test_instructions_that_were_cut_off_with_the_rest_are_not_there(tmp_path: Path):
    bag = drive(tmp_path / 'bag', record(0, 1, TEXT, Fate.RUNNING))
    trim(bag, tmp_path / 'piece', 1.0, 3.0)
    with BagReader(tmp_path / 'piece') as piece:
        assert piece.topics['/vla/instruction'].count == 0
    with pytest.raises(BagError, match='no vla/instruction and no command in it: name the'):
        ends(tmp_path / 'piece')
    assert ends(tmp_path / 'piece', TEXT) == [(TEXT, '')]
    said = record(0, 1, TEXT, Fate.RUNNING), (1500, '/command', String(data='turn left'))
    trim(drive(tmp_path / 'both', *said), tmp_path / 'rest', 1.0, 3.0)
    assert ends(tmp_path / 'rest') == [('turn left', '')]


@pytest.mark.parametrize(
    'state', [State.HOLD, State.ESTOP, State.FAULT, State.CONTROLLED_STOP, State.STOPPED]
)
def test_what_the_gate_did_against_the_driver_is_no_answer(tmp_path: Path, state: State):
    states = [decision(at, State.MANUAL) for at in range(0, 1000, 50)]
    states += [decision(at, state) for at in range(1000, 2000, 50)]
    states += [decision(at, State.ACTIVE) for at in range(2000, 4000, 50)]
    bag = drive(tmp_path / 'bag', *states, instruction=TEXT, label='success')
    tally, _ = convert(tmp_path, bag)
    assert (tally.episodes, tally.frames) == (2, 30)
    assert tally.left_out == {'frame at which the gate let nobody drive': 10}


def test_a_demonstration_begins_when_the_robot_does(tmp_path: Path):
    bag = drive(tmp_path / 'bag', still=1500, instruction=TEXT, label='success')
    tally, _ = convert(tmp_path, bag)
    assert (tally.episodes, tally.frames) == (1, 25)
    assert tally.left_out == {'frame at rest before the first movement': 15}


def person(*wishes: tuple[int, int, State, float]) -> list[Said]:
    """Decisions of a gate, from and to which ms, in which state, and what the person wanted."""
    said = []
    for begin, end, state, speed in wishes:
        for at in range(begin, end, 50):
            one = decision(at, state)
            one[2].wanted.linear.x = speed
            said.append(one)
    return said


def shown(
    folder: Path,
    *said: Said,
    until: int = 4000,
    broken: Iterable[int] = (),
    silent: Iterable[int] = (),
) -> Path:
    """A demonstration with odometry, and frames but at `silent` ms, the `broken`-th unreadable."""
    times = range(0, until, 100)
    frames = [frame(at) for at in times if at not in silent]
    for number in broken:
        frames[number][2].data = b'nothing'
    facts = {'instruction': TEXT, 'label': 'success'}
    return write(folder, [*said, *map(odom, times), *frames], facts)


def driven(folder: Path, *wishes: tuple[int, int, State, float], **how) -> Path:
    """A demonstration in which the base was told what the person wanted."""
    told = [command(at, speed) for begin, end, _, speed in wishes for at in range(begin, end, 100)]
    return shown(folder, *person(*wishes), *told, **how)


def test_where_a_person_stands_at_the_end_is_what_he_shows(tmp_path: Path):
    # Zeros are taken for silence after half a second: the gate stops a robot that stands.
    bag = driven(
        tmp_path / 'bag',
        (0, 1000, State.MANUAL, 0.2),
        (1000, 1500, State.MANUAL, 0.0),
        (1500, 1600, State.CONTROLLED_STOP, 0.0),
        (1600, 4000, State.STOPPED, 0.0),
    )
    tally, _ = convert(tmp_path, bag)
    assert (tally.episodes, tally.frames, tally.left_out) == (1, 40, {})


@pytest.mark.parametrize(
    'end',
    [
        # Silence while he wanted to move; a stop of the gate's own while he stood.
        [(1000, 1500, State.CONTROLLED_STOP, 0.0), (1500, 4000, State.STOPPED, 0.0)],
        [(1000, 1500, State.MANUAL, 0.0), (1500, 4000, State.ESTOP, 0.0)],
        [
            (1000, 1500, State.MANUAL, 0.0),
            (1500, 2000, State.ESTOP, 0.0),
            (2000, 4000, State.STOPPED, 0.0),
        ],
    ],
)
def test_what_the_gate_ended_shows_nothing(tmp_path: Path, end):
    tally, _ = convert(tmp_path, driven(tmp_path / 'bag', (0, 1000, State.MANUAL, 0.2), *end))
    assert tally.frames == (10 if end[0][2] is State.CONTROLLED_STOP else 15)


def test_a_pause_on_the_way_is_no_answer_and_parts_the_drive_in_pieces_of_one(tmp_path: Path):
    bag = driven(
        tmp_path / 'bag',
        (0, 1000, State.MANUAL, 0.2),
        (1000, 1500, State.MANUAL, 0.0),
        (1500, 2000, State.STOPPED, 0.0),
        (2000, 3000, State.MANUAL, 0.2),
        (3000, 3500, State.MANUAL, 0.0),
        (3500, 4000, State.STOPPED, 0.0),
    )
    tally, _ = convert(tmp_path, bag)
    assert (tally.episodes, tally.frames) == (2, 35)
    assert tally.left_out == {'frame at which the gate let nobody drive': 5}
    names = json.loads((tmp_path / 'data/meta/vla.json').read_text())['drives']
    assert len(names) == 2
    assert len(set(names)) == 1


def test_behind_a_broken_frame_the_drive_goes_on(tmp_path: Path):
    said = [command(at, 0.2 if at < 2000 else 0.0) for at in range(0, 4000, 100)]
    tally, _ = convert(tmp_path, shown(tmp_path / 'bag', *said, broken=[25]))
    assert (tally.episodes, tally.frames) == (2, 39)


@pytest.mark.parametrize('broken', [[0], [0, 1, 5], [7]])
def test_rest_before_the_first_movement_is_left_out_behind_broken_frames_too(
    tmp_path: Path, broken: list[int]
):
    said = [command(at, 0.0 if at < 1000 else 0.2) for at in range(0, 4000, 100)]
    tally, _ = convert(tmp_path, shown(tmp_path / 'bag', *said, broken=broken))
    assert (tally.episodes, tally.frames) == (1, 30)
    assert tally.left_out['frame at rest before the first movement'] == 10 - len(broken)


def test_the_end_is_that_of_the_drive_though_the_camera_paused(tmp_path: Path):
    wishes = (
        (0, 1000, State.MANUAL, 0.2),
        (1000, 1500, State.MANUAL, 0.0),
        (1500, 2500, State.STOPPED, 0.0),  # the camera is silent in the middle of it
        (2500, 3000, State.MANUAL, 0.2),
        (3000, 3500, State.MANUAL, 0.0),
        (3500, 4000, State.STOPPED, 0.0),
    )
    bag = driven(tmp_path / 'bag', *wishes, silent=range(1700, 2200, 100))
    tally, _ = convert(tmp_path, bag)
    assert (tally.episodes, tally.frames) == (2, 15 + 15)


def test_a_minute_of_rest_at_the_end_is_not_shown(tmp_path: Path):
    wishes = ((0, 1000, State.MANUAL, 0.2), (1000, 1500, State.MANUAL, 0.0))
    wishes += ((1500, 10_000, State.STOPPED, 0.0),)
    tally, _ = convert(tmp_path, driven(tmp_path / 'bag', *wishes, until=10_000))
    assert tally.frames == 10 + 30


def answered_by(tmp_path: Path, model_id: str = 'demo', **changes) -> str:
    """A checkpoint like the demo, its contract changed."""
    folder = tmp_path / 'policy'
    shutil.copytree(checkpoint_path('demo'), folder)
    manifest = yaml.safe_load((folder / 'manifest.yaml').read_text())
    manifest['model_id'] = model_id
    manifest['contract'] |= changes
    (folder / 'manifest.yaml').write_text(yaml.safe_dump(manifest))
    return str(folder)


def test_answers_in_metres_per_step_become_velocities(tmp_path: Path):
    units = ['m'] * 3 + ['rad'] * 3 + ['1']
    policy = answered_by(tmp_path, representation='DELTA', action_units=units, step_dt=0.2)
    bag = drive(tmp_path / 'bag', *(chunk(at, 0.04) for at in range(0, 4000, 100)))
    with BagReader(bag) as reader:
        velocities = Drive(reader).actions('chunks', policy).values
    np.testing.assert_allclose(velocities[:, 0], 0.2)
    assert not velocities[:, 1:].any()


def test_answers_of_another_policy_are_refused(tmp_path: Path):
    policy = answered_by(tmp_path, model_id='mine')
    bag = drive(tmp_path / 'bag', *(chunk(at, 0.04) for at in range(0, 4000, 100)))
    with pytest.raises(BagError, match=r"'demo' answered.*expected its checkpoint .* not 'mine'"):
        convert(tmp_path, bag, actions='chunks', policy=policy, instruction=TEXT)
    with pytest.raises(VlaError, match='nowhere'):
        convert(tmp_path, bag, actions='chunks', policy='nowhere', instruction=TEXT)


def test_bags_without_odometry_are_named_and_not_mixed_with_others(tmp_path: Path):
    without = drive(tmp_path / 'without', with_odom=False)
    tally, notes = convert(tmp_path, without, instruction=TEXT)
    assert tally.frames == 40
    assert notes[0] == f'{without}: no odometry in it: the state of its 40 frames is zeros'
    (tmp_path / 'data').rename(tmp_path / 'before')
    other = drive(tmp_path / 'with')
    for bags in ((without, other), (other, without)):
        with pytest.raises(BagError, match=f'{bags[1]}: odometry: .* expected all or none'):
            convert(tmp_path, *bags, instruction=TEXT)
    assert not (tmp_path / 'data').exists()


def two_robots(folder: Path) -> Path:
    """Of two robots the second one says all the same, its numbers negative, and goes first."""
    times = range(0, 2000, 100)
    said: list[Said] = []
    for robot, sign in (('/r2', -1.0), ('/r1', 1.0)):
        for at in times:
            moving = odom(at)
            moving[2].twist.twist.linear.x = 0.3 * sign
            gate = decision(at, State.ACTIVE if robot == '/r1' else State.HOLD)
            gate[2].gripper = 0.7 if robot == '/r1' else 0.2
            for _, topic, msg in (frame(at), command(at, 0.2 * sign), moving, gate):
                said.append((at, f'{robot}{topic}', msg))
            said.append(chunk(at, 0.4 * sign))
            said[-1] = (said[-1][0], f'{robot}/vla/action_chunk', said[-1][2])
        text = f'turn {"left" if robot == "/r1" else "right"}'
        said.append((0, f'{robot}/vla/instruction', record(0, 1, text, Fate.RUNNING)[2]))
        said.append((1950, f'{robot}/vla/instruction', record(1950, 1, text, Fate.DONE)[2]))
    return write(folder, said, {})


def test_of_two_robots_everything_is_of_the_one_that_is_named(tmp_path: Path):
    camera = '/r1/camera/color/image_raw'
    with BagReader(two_robots(tmp_path / 'bag')) as bag:
        drive = Drive(bag, camera, 'r1/cmd_vel')
        assert set(drive.odometry().values[:, 0]) == {0.3}
        assert set(drive.obedience().values[:, 0]) == {1.0}
        assert set(drive.gripper().values[:, 0]) == {0.7}
        assert [one.text for one in drive.segments()] == ['turn left']
        assert set(Drive(bag, camera, 'chunks').actions('chunks', 'demo').values[:, 0]) == {0.4}


def test_what_belongs_to_no_robot_alone_is_not_guessed_at(tmp_path: Path):
    turned = [(at, f'/{name}/odom', odom(at)[2]) for at in range(0, 1000, 100) for name in 'ab']
    said = r"found \['/a/odom', '/b/odom'\]: expected one in the namespace of /camera/color"
    bag = BagReader(drive(tmp_path / 'bag', *turned, with_odom=False))
    with bag, pytest.raises(BagError, match=said):
        Drive(bag).odometry()
    with BagReader(drive(tmp_path / 'other', *turned)) as bag:
        assert len(Drive(bag).odometry().stamps) == 40


def test_a_frame_that_the_policy_skipped_gets_no_answer_to_another_one(tmp_path: Path):
    answered = [at for at in range(0, 4000, 50) if at % 200 != 150]
    said = [frame(at) for at in range(0, 4000, 50)] + [odom(at) for at in range(0, 4000, 50)]
    said += [chunk(at, 1.0 + at / 1000) for at in answered]
    bag = write(tmp_path / 'bag', said, {})
    tally, _ = convert(tmp_path, bag, actions='chunks', instruction=TEXT, fps=20.0)
    assert tally.episodes == 1
    assert tally.left_out == {'frame that the policy did not answer': 20}
    from pyarrow import parquet

    (table,) = (tmp_path / 'data' / 'data').rglob('*.parquet')
    found = parquet.read_table(table)
    moves = [row[0] for row in found['action'].to_pylist()]
    assert set(np.round(moves, 3)) == {round(1.0 + at / 1000, 3) for at in answered}


def test_answer_to_several_cameras_is_one_to_the_later_of_them_too(tmp_path: Path):
    said = [frame(at) for at in range(100, 4100, 100)] + [odom(at) for at in range(0, 4100, 50)]
    said += [chunk(at - 10, 1.0) for at in range(100, 4100, 100) if at != 2000]
    bag = write(tmp_path / 'bag', said, {})
    tally, _ = convert(tmp_path, bag, actions='chunks', instruction=TEXT, fps=10.0)
    assert tally.left_out == {'frame that the policy did not answer': 1}
    assert tally.episodes == 1


def test_policy_that_answers_too_rarely_for_the_data_set_is_named(tmp_path: Path):
    said = [frame(at) for at in range(0, 4000, 50)] + [odom(at) for at in range(0, 4000, 50)]
    said += [chunk(at, 1.0) for at in range(0, 4000, 400)]
    bag = write(tmp_path / 'bag', said, {})
    with pytest.raises(BagError, match=r'answered 2\.5 frames per second: expected fps'):
        convert(tmp_path, bag, actions='chunks', instruction=TEXT)


@pytest.mark.parametrize('source', ['decision', 'topic'])
def test_the_gripper_is_what_it_was_told(tmp_path: Path, source: str):
    said: list[Said] = []
    for at in range(0, 4000, 50):
        gate = decision(at, State.ACTIVE)
        gate[2].gripper = float(at >= 2000) if source == 'decision' else np.nan
        said.append(gate)
    if source == 'topic':
        said += [(0, '/gripper_command', Float64(data=0.0))]
        said += [(2000, '/gripper_command', Float64(data=1.0))]
    with BagReader(drive(tmp_path / 'bag', *said)) as bag:
        commands = Drive(bag).actions('cmd_vel')
    assert commands.values[:, -1].tolist() == [0.0] * 20 + [1.0] * 20


def test_a_bag_without_a_gripper_is_named(tmp_path: Path):
    bag = drive(tmp_path / 'bag')
    _, notes = convert(tmp_path, bag, instruction=TEXT)
    assert notes == [f'{bag}: no gripper in it: it is 0, open, in its 40 frames']


def test_an_error_of_one_bag_of_many_names_it(tmp_path: Path):
    good = drive(tmp_path / 'good')
    said = [frame(at) for at in (0, 100, 200_000)] + [command(at) for at in (0, 100, 200_000)]
    late = write(tmp_path / 'late', said, {})
    with pytest.raises(BagError, match=f'{late}: no frame for 199.9 s'):
        convert(tmp_path, good, late, instruction=TEXT)
    high = [frame(at, height=8) for at in range(0, 4000, 100)]
    high += [command(at) for at in range(0, 4000, 100)] + [odom(at) for at in range(0, 4000, 100)]
    with pytest.raises(BagError, match=f'{tmp_path}/high: '):
        convert(tmp_path, good, write(tmp_path / 'high', high, {}), instruction=TEXT)


def test_a_demonstration_without_a_frame_is_left_out(tmp_path: Path):
    facts = {'instruction': TEXT, 'label': 'success'}
    blind = write(tmp_path / 'blind', [command(at) for at in range(0, 1000, 100)], facts)
    tally, notes = convert(tmp_path, blind, drive(tmp_path / 'bag', **facts))
    assert (tally.episodes, tally.left_out) == (1, {'bag without a frame': 1})
    assert notes[0] == f'{blind}: no frame in it: left out'
    with pytest.raises(BagError, match='unlabelled: frames of a camera: found none'):
        convert(tmp_path / 'other', write(tmp_path / 'unlabelled', [command(0)], {}))


def test_a_disk_that_refuses_a_data_set_is_one_line(tmp_path: Path, monkeypatch):
    pytest.importorskip('pyarrow')
    from vla_learning.data.lerobot_write import LeRobotWriter

    def refuse(*_: object) -> None:
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(LeRobotWriter, 'add', refuse)
    with pytest.raises(BagError, match=r'data: .*No space left on device.*: expected a folder'):
        convert(tmp_path, drive(tmp_path / 'bag'), instruction=TEXT)
    assert not list(tmp_path.glob('.data*'))


def test_a_bag_whose_clock_was_set_is_refused(tmp_path: Path, capsys):
    bag = drive(tmp_path / 'bag', clock_set='from 20.000 s to 10.000 s')
    said = f'{bag}: clock_set: the clock of its stamps was set from 20.000 s to 10.000 s'
    with pytest.raises(BagError, match=said):
        convert(tmp_path, bag, instruction=TEXT)
    with pytest.raises(BagError, match=said):
        to_video(ToVideo(bag, tmp_path / 'film.mp4'))
    for command, status in ((('replay', 'bless'), 1), (('replay', 'check'), 2), (('play',), 1)):
        assert main([*command, str(bag)]) == status
        assert said in capsys.readouterr().err.replace('\n', ' ')


def test_a_camera_is_found_beside_one_of_depth(tmp_path: Path):
    said = [frame(at, '16UC1') for at in range(0, 1000, 100)]
    depth = [(at, '/camera/depth/image_rect_raw', msg) for at, _, msg in said]
    with BagReader(drive(tmp_path / 'bag', *depth)) as bag:
        assert Drive(bag).frames.name == '/camera/color/image_raw'
        assert Drive(bag, 'camera/depth/image_rect_raw').frames.name.startswith('/camera/depth')
    with BagReader(write(tmp_path / 'depth', depth, {})) as bag:
        assert Drive(bag).frames.name == '/camera/depth/image_rect_raw'


def test_a_clock_that_was_set_makes_no_film_without_end(tmp_path: Path):
    said = [frame(at) for at in (0, 100, 200, 10**9)]
    with BagReader(write(tmp_path / 'bag', said, {})) as bag:
        film = Film(Drive(bag))
        with pytest.raises(BagError, match=r'no frame for 999999\.8 s, 0\.200 s after the first'):
            next(film.pictures(25.0))


def test_a_film_that_is_there_already_stays_as_it_is(tmp_path: Path):
    pytest.importorskip('av')
    film = tmp_path / 'film.mp4'
    film.write_bytes(b'mine')
    with pytest.raises(BagError, match=r'film\.mp4 exists: expected a new file'):
        to_video(ToVideo(drive(tmp_path / 'bag'), film))
    assert film.read_bytes() == b'mine'
    with pytest.raises(BagError, match='expected a film that can be written'):
        to_video(ToVideo(tmp_path / 'bag', film / 'inner.mp4'))
    with pytest.raises(BagError, match='expected a folder that can be made'):
        to_dataset(ToDataset(film / 'data', (tmp_path / 'bag',)), print)
