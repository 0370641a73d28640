"""What belongs together comes out together, once, in order."""

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from vla_core.errors import ObservationError
from vla_inference.assembly import Assembler, Frames, FramesApart, MAX_WAITING, Odometry

IMAGE = np.zeros((96, 192, 3), np.uint8)
MS = 1_000_000


def stamps(events):
    return [(type(event).__name__, event.stamp_ns) for event in events]


def test_one_camera_is_passed_at_once():
    assembler = Assembler(('front',), lockstep=False)
    (frames,) = assembler.image('front', IMAGE, 5)
    assert frames.stamp_ns == 5
    assert frames.images == {'front': IMAGE}


def test_two_cameras_wait_for_each_other():
    assembler = Assembler(('front', 'wrist'), lockstep=False, tolerance=0.02)
    assert assembler.image('front', IMAGE, 100 * MS) == []
    assert assembler.image('wrist', IMAGE, 50 * MS) == []
    assert stamps(assembler.image('wrist', IMAGE, 81 * MS)) == [('Frames', 81 * MS)]
    assert assembler.image('wrist', IMAGE, 110 * MS) == []


def say_what_is_apart(assembler, wrist_late):
    """Feed two cameras for 2.4 s, 50 ms apart; return what was said."""
    said = []
    for now in range(0, 2400, 50):
        for slot, late in (('front', 0), ('wrist', wrist_late)):
            try:
                if late is not None:
                    assert assembler.image(slot, IMAGE, (1000 + now - late) * MS) == []
            except FramesApart as error:
                said.append(str(error))
    return said


def test_cameras_that_never_match_are_named_with_the_difference():
    assembler = Assembler(('front', 'wrist'), lockstep=False, tolerance=0.01)
    said = say_what_is_apart(assembler, wrist_late=20)
    # By whose image came last.
    assert [text.replace('0.070', '0.020') for text in said] == 2 * [
        'images do not come together, the newest are behind: front by 0.000 s, wrist by 0.020 s: '
        'expected at most slot_tolerance, 0.01 s'
    ]
    (frames,) = assembler.image('wrist', IMAGE, 3350 * MS)
    assert frames.stamp_ns == 3350 * MS


def test_dead_camera_is_named():
    assembler = Assembler(('front', 'wrist'), lockstep=False)
    said = say_what_is_apart(assembler, wrist_late=None)
    assert said == 2 * [
        "1 s of images of front, none of ['wrist']: expected all of ['front', 'wrist'] together"
    ]


def test_cameras_that_match_now_and_then_are_fine():
    assembler = Assembler(('front', 'wrist'), lockstep=False)
    for now in range(0, 10_000, 50):
        assembler.image('front', IMAGE, now * MS)
        if now % 500 == 0:
            assert assembler.image('wrist', IMAGE, now * MS)


def test_odometry_passes_through_when_steady():
    sample = Odometry(7, 0.1, 0.2)
    assert Assembler(('front',), lockstep=False).odometry(sample) == [sample]


def test_lockstep_frame_waits_for_the_odometry_of_its_stamp():
    assembler = Assembler(('front',), lockstep=True)
    assert assembler.odometry(Odometry(20, 0.0, 0.0)) == []
    assert assembler.image('front', IMAGE, 40) == []
    due = assembler.odometry(Odometry(40, 0.1, 0.0))
    assert stamps(due) == [('Odometry', 20), ('Odometry', 40), ('Frames', 40)]
    assert assembler.odometry(Odometry(60, 0.1, 0.0)) == []


def test_lockstep_refuses_an_endless_wait():
    assembler = Assembler(('front',), lockstep=True)
    for index in range(MAX_WAITING):
        assembler.image('front', IMAGE, index)
    with pytest.raises(ObservationError, match='wait for odometry'):
        assembler.image('front', IMAGE, MAX_WAITING)


@given(st.lists(st.sampled_from(['odom', 'front', 'wrist']), max_size=80))
def test_lockstep_order_does_not_depend_on_the_order_of_arrival(order):
    """Each topic keeps its order; whatever the interleaving, the same comes out."""
    assembler = Assembler(('front', 'wrist'), lockstep=True)
    sent = dict.fromkeys(('odom', 'front', 'wrist'), 0)
    out = []
    for topic in order:
        sent[topic] += 1
        stamp = sent[topic] * 20 if topic == 'odom' else sent[topic] * 40
        if topic == 'odom':
            out += assembler.odometry(Odometry(stamp, 0.0, 0.0))
        else:
            out += assembler.image(topic, IMAGE, stamp)
    frames = [event.stamp_ns for event in out if isinstance(event, Frames)]
    complete = min(sent['front'], sent['wrist'], sent['odom'] // 2)
    assert frames == [40 * (index + 1) for index in range(complete)]
    expected = []
    for stamp in frames:
        expected += [('Odometry', stamp - 20), ('Odometry', stamp), ('Frames', stamp)]
    assert stamps(out) == expected
