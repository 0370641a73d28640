"""What of a drive becomes a data set, and what does not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
import numpy as np
import pytest
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import String

from vla_core.gate.causes import State
from vla_core.session import Fate
from vla_interfaces.msg import Decision, Instruction
from vla_replay.bag.reader import BagReader
from vla_replay.bag.writer import BagWriter
from vla_replay.conversion.dataset import Tally, to_dataset
from vla_replay.conversion.drive import Drive
from vla_replay.conversion.film import Film, to_video
from vla_replay.errors import BagError
from vla_replay.message_types import type_name
from vla_replay.options import ToDataset, ToVideo
from vla_ros.conversion import to_time

BEGIN = 1_700_000_000 * 10**9
MS = 10**6
TEXT = 'go to the red box'

Said = tuple[int, str, object]


def frame(at: int, encoding: str = 'rgb8') -> Said:
    image = Image(height=4, width=6, encoding=encoding, step=18)
    image.header.stamp = to_time(BEGIN + at * MS)
    image.data = np.full(72, at // 100 % 200 + 20, np.uint8).tobytes()
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


def test_bags_without_odometry_are_named_and_not_mixed_with_others(tmp_path: Path):
    without = drive(tmp_path / 'without', with_odom=False)
    tally, notes = convert(tmp_path, without, instruction=TEXT)
    assert tally.frames == 40
    assert notes == [f'{without}: no odometry in it: the state of its 40 frames is zeros']
    (tmp_path / 'data').rename(tmp_path / 'before')
    other = drive(tmp_path / 'with')
    for bags in ((without, other), (other, without)):
        with pytest.raises(BagError, match=f'{bags[1]}: odometry: .* expected all or none'):
            convert(tmp_path, *bags, instruction=TEXT)
    assert not (tmp_path / 'data').exists()


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
        film = Film(Drive(bag), bag)
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
