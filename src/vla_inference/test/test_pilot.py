"""Texts and frames in, records and chunks out, with the worker run by hand."""

from dataclasses import replace
import itertools
import math

import numpy as np
import pytest

from vla_core.envelope_guard import ObservationGuard
from vla_core.errors import ActionRejected, CheckpointError, ObservationError
from vla_core.execution import Blending, Execution, PERIOD
from vla_core.robot import AxisConfig, RobotConfig
from vla_core.session import Fate, Session, Source
from vla_core.types import NATIVE_UNITS, Prediction, Representation, Status
from vla_core.worker import Activity, Incident, Outcome
from vla_inference.pilot import Pilot
from vla_inference.runner import Encode, Runner

S = 1_000_000_000
IMAGE = np.full((96, 192, 3), 90, np.uint8)
AXIS = AxisConfig(0.6, 1.0, 1.0, 'linear.x')
ROBOT = RobotConfig('robot', (AXIS, *(None,) * 5), False, True, 'LOCALHOST')
NAN = ActionRejected('actions are not finite')


class HandWorker:
    """Does its jobs when the test says so, in the test's thread."""

    def __init__(self, runner):
        self.runner = runner
        self.jobs = []
        self.incidents = []
        self.doing = Activity.WAITING

    def submit(self, item, lane=''):
        self.jobs.append(item)

    def activity(self):
        return self.doing, 0.0

    def supervise(self):
        return self.incidents.pop(0) if self.incidents else None


class Time:
    """A clock that the test sets; ROS time and ages agree."""

    def __init__(self, lockstep=False):
        self.lockstep = lockstep
        self.seconds = 0.0

    def now(self):
        assert not self.lockstep, 'in lock-step only stamps may count'
        return self.seconds

    def stamp_age(self, stamp_ns):
        return self.seconds - stamp_ns * 1e-9


class Flight:
    """A pilot with its surroundings, and what came out of it."""

    def __init__(self, policy, lockstep=False, **options):
        self.records, self.chunks, self.reports = [], [], []
        self.worker = HandWorker(Runner(policy))
        self.time = Time(lockstep)
        self.stamps = itertools.count(1)
        self.pilot = Pilot(Session(), self.worker, self.time, 77, self, **options)
        execution = Execution(policy.spec, ROBOT)
        self.pilot.fit(policy.spec, execution, ObservationGuard(policy.spec))
        self.pilot.activate()

    def record(self, record):
        self.records.append((record.id, record.fate))

    def chunk(self, chunk):
        self.chunks.append(chunk)

    def report(self, text, severe):
        self.reports.append((text, severe))

    def work(self):
        while self.worker.jobs:
            job = self.worker.jobs.pop(0)
            result = error = None
            try:
                result = self.worker.runner.handle(job)
            except Exception as raised:
                error = raised
            self.pilot.outcome(Outcome(job, result, error, 0.01))

    def say(self, text, **options):
        heard = self.pilot.hear(text, Source.TOPIC, **options)
        self.work()
        return heard.id

    def frame(self, after=0.1, speed=0.0, work=True, turn_rate=0.0, odom=True):
        """Let time pass, bring odometry and a frame; return the newest chunk."""
        self.time.seconds += after
        stamp = round(self.time.seconds * S)
        if odom:
            self.pilot.odometry(stamp, speed, turn_rate)
        self.pilot.image('front', IMAGE, stamp)
        if work:
            self.work()
        return self.chunks[-1] if self.chunks else None


@pytest.fixture
def flight(fake):
    return Flight(fake)


def test_chunks_are_idle_zeros_before_any_text(flight):
    chunk = flight.frame()
    assert (chunk.status, chunk.instruction_id, chunk.policy_run) == (Status.IDLE, 0, 77)
    assert not chunk.data.any()
    assert chunk.stamp_ns == chunk.observation_stamp_ns == S // 10


def test_text_becomes_a_record_and_then_chunks(flight):
    flight.frame()
    assert flight.say('go to the red box', source_stamp=5) == 1
    assert flight.records == [(1, Fate.RUNNING)]
    chunk = flight.frame()
    assert (chunk.status, chunk.instruction_id, chunk.inference_seconds) == (
        Status.RUNNING,
        1,
        0.01,
    )
    assert chunk.data[0, 0] == 0.0, 'the robot rests'
    assert 0.4 < chunk.data[-1, 0] <= 0.5
    assert (chunk.predicted[:, 0] == 0.5).all()
    assert [chunk.sequence for chunk in flight.chunks] == [1, 2]


def test_every_frame_gets_one_chunk_with_growing_sequence(flight):
    for text in ('go', 'stop', 'nonsense', 'move on'):
        flight.say(text)
        for _ in range(5):
            flight.frame()
    assert len(flight.chunks) == 20
    assert [chunk.sequence for chunk in flight.chunks] == list(range(1, 21))
    for chunk in flight.chunks:
        assert chunk.data.any() == (chunk.status is Status.RUNNING)


def test_refused_text_gives_refused_zeros(flight):
    flight.say('nonsense')
    chunk = flight.frame()
    assert (chunk.status, chunk.instruction_id) == (Status.REFUSED, 1)
    assert not chunk.data.any()


def test_stop_overtakes_the_frame_that_is_being_inferred(flight):
    flight.say('go')
    flight.frame()
    count = len(flight.chunks)
    flight.frame(work=False)
    flight.pilot.hear('stop', Source.TOPIC)
    flight.work()
    assert len(flight.chunks) == count
    chunk = flight.frame()
    assert (chunk.status, chunk.instruction_id, chunk.data.any()) == (Status.IDLE, 2, False)


def test_nothing_is_sent_for_the_old_text_while_a_new_one_waits(flight):
    flight.say('go')
    flight.frame(work=False)
    flight.pilot.hear('go elsewhere', Source.TOPIC)
    flight.frame(work=False)
    flight.work()
    assert flight.chunks == []
    assert flight.records == [(1, Fate.RUNNING), (1, Fate.REPLACED), (2, Fate.RUNNING)]
    assert flight.frame().instruction_id == 2


def test_done_is_zero_at_once_and_recorded_at_rest(flight, fake):
    flight.say('go')
    flight.frame(speed=0.4)
    fake.done = 0.9
    chunk = flight.frame(speed=0.4)
    assert (chunk.status, chunk.data.any()) == (Status.RUNNING, False)
    for _ in range(7):
        chunk = flight.frame(speed=0.0)
    assert chunk.status is Status.DONE
    assert flight.records[-1] == (1, Fate.DONE)


@pytest.mark.parametrize('lockstep', [False, True])
def test_no_goal_is_done_while_every_other_inference_fails(fake, lockstep):
    flight = Flight(fake, lockstep)
    flight.say('go')
    fake.done = 0.9
    for _ in range(20):
        assert flight.frame().status is Status.RUNNING
        fake.next = [NAN, NAN]
        assert flight.frame().status is Status.RUNNING
    for _ in range(7):
        flight.frame()
    assert flight.records[-1] == (1, Fate.DONE)


def test_no_goal_is_done_without_frames(flight, fake):
    flight.say('go')
    fake.done = 0.9
    flight.frame()
    for _ in range(20):
        flight.time.seconds += 0.05
        flight.pilot.odometry(round(flight.time.seconds * S), 0.0, 0.0)
        flight.pilot.supervise()
    assert flight.records == [(1, Fate.RUNNING)]


def test_infinite_patience_ends_without_frames(flight):
    flight.say('go')
    flight.time.seconds += 121.0
    flight.pilot.supervise()
    assert flight.records[-1] == (1, Fate.TIMED_OUT)


def test_in_lock_step_frames_end_what_no_inference_answers(fake):
    flight = Flight(fake, lockstep=True)
    flight.say('go')
    for _ in range(3):
        fake.next = [NAN, NAN]
        chunk = flight.frame(after=50.0)
    assert flight.records[-1] == (1, Fate.TIMED_OUT)
    assert chunk.status is Status.TIMED_OUT


def test_without_odometry_the_turns_that_were_commanded_are_the_search(flight, fake):
    flight.say('go')
    turn = Prediction(np.zeros((8, 7)))
    turn.actions[:, fake.spec.action_names.index('angular.z')] = 1.0
    fake.next = [turn] * 150
    for _ in range(150):
        flight.frame(odom=False)
    assert flight.records[-1] == (1, Fate.NOT_FOUND)


def test_failed_frame_is_counted_and_stands_still(flight, fake):
    flight.say('go')
    fake.next = [NAN, NAN]
    chunk = flight.frame()
    assert (chunk.status, chunk.data.any()) == (Status.RUNNING, False)
    assert (flight.pilot.tally.total, flight.pilot.tally.consecutive) == (1, 1)
    assert 'not finite' in flight.pilot.tally.detail
    chunk = flight.frame()
    assert chunk.data.any()
    assert (flight.pilot.tally.total, flight.pilot.tally.consecutive) == (1, 0)


def test_failures_in_a_row_are_counted(flight, fake):
    flight.say('go')
    fake.next = [NAN] * 10
    for _ in range(5):
        flight.frame()
    assert flight.pilot.tally.consecutive == 5


def test_cured_frames_are_counted_apart(flight, fake):
    flight.say('go')
    fake.next = [NAN]
    assert flight.frame().data.any()
    tally = flight.pilot.tally
    assert (tally.total, tally.consecutive, tally.cured) == (0, 0, 1)
    assert 'second attempt' in flight.reports[-1][0]


def test_small_excess_is_clipped_and_counted(flight, fake):
    flight.say('go')
    fake.action = 1.5
    for _ in range(10):
        chunk = flight.frame()
    assert chunk.data[-1, 0] == pytest.approx(0.6)  # as fast as the robot is
    assert flight.pilot.tally.clipped == 80
    fake.action = 11.0
    assert not flight.frame().data.any()
    assert flight.pilot.tally.total == 1


def test_clean_numbers_only_ever_leave(flight, fake):
    flight.say('go')
    bad = Prediction(np.zeros((8, 7)))
    bad.actions[2, 3] = math.nan
    fake.next = [bad, bad]
    flight.frame()
    assert all(np.isfinite(chunk.data).all() for chunk in flight.chunks)
    assert flight.pilot.tally.total == 1


def test_wrong_picture_is_refused_whatever_is_going_on(flight):
    small = np.zeros((96, 96, 3), np.uint8)
    for text in ('nonsense', 'go'):
        flight.say(text)
        with pytest.raises(ObservationError, match='96x96'):
            flight.pilot.image('front', small, 0)
    assert flight.chunks == []


def test_frame_from_the_future_is_refused(flight):
    with pytest.raises(ObservationError, match='ahead'):
        flight.pilot.image('front', IMAGE, S)


def test_malformed_text_is_counted_but_never_in_a_row(flight):
    for _ in range(10):
        flight.say('')
    assert set(flight.records) == {(0, Fate.MALFORMED)}
    assert (flight.pilot.tally.total, flight.pilot.tally.consecutive) == (10, 0)


def test_text_that_the_policy_cannot_encode_is_refused_and_counted(flight):
    flight.say('fail')
    assert flight.records == [(1, Fate.REFUSED)]
    assert flight.pilot.tally.total == 1


@pytest.mark.parametrize('value', [math.nan, math.inf])
def test_odometry_must_be_finite(flight, value):
    with pytest.raises(ObservationError):
        flight.pilot.odometry(0, value, 0.0)


def test_state_vector_comes_from_fresh_odometry(fake):
    fake.spec = replace(fake.spec, state_names=('odom.w', 'odom.v'))
    flight = Flight(fake)
    flight.say('go')
    with pytest.raises(ObservationError, match='odometry'):
        flight.pilot.image('front', IMAGE, 0)
    flight.frame(speed=0.3)
    np.testing.assert_array_equal(fake.seen[-1][0].state, [0.0, 0.3])
    flight.time.seconds += 0.6
    with pytest.raises(ObservationError, match='old'):
        flight.pilot.image('front', IMAGE, 0)


def test_unknown_state_is_refused(fake):
    fake.spec = replace(fake.spec, state_names=('gps.lat',))
    with pytest.raises(CheckpointError, match=r'gps\.lat'):
        Flight(fake)


def test_policy_without_a_camera_is_refused(fake):
    fake.spec = replace(fake.spec, cameras=())
    with pytest.raises(CheckpointError, match='no camera slot'):
        Flight(fake)


def test_restarted_worker_is_told_the_text_again(flight):
    flight.say('go')
    flight.worker.incidents = [Incident.HUNG, Incident.RESTARTED]
    flight.pilot.supervise()
    flight.pilot.supervise()
    assert flight.worker.jobs == [Encode(1, 'go')]
    assert flight.pilot.tally.total == 1
    flight.work()
    assert flight.records == [(1, Fate.RUNNING)]
    assert flight.frame().data.any()


def test_text_that_waited_for_a_hung_worker_is_encoded_by_the_next(flight):
    flight.pilot.hear('go', Source.TOPIC)
    flight.worker.jobs.clear()
    flight.worker.incidents = [Incident.RESTARTED]
    flight.pilot.supervise()
    flight.work()
    assert flight.records == [(1, Fate.RUNNING)]


def test_giving_up_is_reported_as_severe(flight):
    flight.worker.incidents = [Incident.GAVE_UP]
    flight.pilot.supervise()
    assert flight.reports[-1][1] is True


def test_deactivation_sends_a_last_zero(flight):
    flight.say('go')
    flight.frame()
    flight.pilot.deactivate('bye')
    assert flight.records[-1] == (1, Fate.STOPPED)
    assert not flight.chunks[-1].data.any()
    count = len(flight.chunks)
    flight.frame()
    flight.say('go')
    assert len(flight.chunks) == count
    assert flight.records[-1] == (2, Fate.REFUSED)


def fly_lockstep(policy, odometry_first):
    """Turn on the spot for 24 s of simulated time; return everything that came out."""
    flight = Flight(policy, lockstep=True)
    flight.say('move')
    for tick in range(1, 1200):
        stamp = tick * S // 50
        if tick == 600:
            flight.say('go')
        if odometry_first:
            flight.pilot.odometry(stamp, 0.0, 1.2)
        if tick % 2 == 0:
            flight.pilot.image('front', IMAGE, stamp)
        if not odometry_first:
            flight.pilot.odometry(stamp, 0.0, 1.2)
        flight.work()
    assert len(flight.chunks) == 599
    return flight.records, [(one.sequence, one.stamp_ns, one.status) for one in flight.chunks]


def test_lockstep_does_not_depend_on_when_things_arrive(fake):
    """The same texts, frames and odometry in two orders of arrival give the same output."""
    outputs = [fly_lockstep(fake, odometry_first) for odometry_first in (True, False)]
    assert outputs[0] == outputs[1]
    assert [fate for _, fate in outputs[0][0]] == [
        Fate.RUNNING,
        Fate.DONE,
        Fate.RUNNING,
        Fate.NOT_FOUND,
    ]


def test_pictures_unlike_those_of_the_training_are_a_warning_and_no_error(fake, trained_on):
    fake.spec = replace(fake.spec, envelope=trained_on(200))
    flight = Flight(fake)
    flight.frame()
    assert flight.pilot.warning == ''
    for _ in range(10):
        chunk = flight.frame()
    assert flight.pilot.warning.startswith('envelope.images.front.luminance is 0.353, limit 0.7')
    assert chunk.status is Status.IDLE
    assert flight.pilot.tally.total == 0
    assert len(flight.chunks) == 11


def test_pictures_like_those_of_the_training_are_no_warning(fake, trained_on):
    fake.spec = replace(fake.spec, envelope=trained_on(90))
    flight = Flight(fake)
    for _ in range(50):
        flight.frame()
    assert flight.pilot.warning == ''


@pytest.mark.parametrize('lockstep', [False, True])
def test_odometry_in_degrees_gives_no_chunk_and_names_the_unit(fake, trained_on, lockstep):
    fake.spec = replace(fake.spec, envelope=trained_on(90))
    flight = Flight(fake, lockstep)
    with pytest.raises(
        ObservationError, match=r'odom\.w is 40: degrees per second instead of rad'
    ):
        flight.frame(turn_rate=40.0)
    assert flight.chunks == []
    assert flight.frame(turn_rate=0.7) is not None


def test_state_in_another_unit_is_refused_before_any_chunk(fake, trained_on):
    envelope = trained_on(90, state=('odom.v',))
    fake.spec = replace(fake.spec, state_names=('odom.v', 'odom.w'), envelope=envelope)
    flight = Flight(fake)
    flight.say('go')
    with pytest.raises(ObservationError, match=r'odom\.v is 300: millimetres per second'):
        flight.frame(speed=300.0)
    assert flight.chunks == []
    assert fake.seen[-1][0].state.tolist() == [0.0, 0.0], 'only the warm-up was seen'


def test_without_an_envelope_odometry_is_believed(flight):
    assert flight.frame(speed=300.0, turn_rate=40.0) is not None
    assert flight.pilot.warning == ''


def test_chunks_leave_at_the_rate_of_the_gate_without_what_is_over(fake):
    flight = Flight(fake)
    flight.say('go')
    flight.frame(work=False)
    flight.time.seconds += 0.13
    flight.work()
    chunk = flight.chunks[-1]
    assert (chunk.step_dt, chunk.horizon) == (PERIOD, 31 - 6)
    assert chunk.observation_stamp_ns == S // 10
    assert chunk.stamp_ns == S // 10 + 6 * S // 50
    assert flight.frame(after=0.0) is not None


def test_cameras_that_never_match_are_told_but_are_no_errors_in_a_row(fake):
    wrist = replace(fake.spec.cameras[0], name='wrist')
    fake.spec = replace(fake.spec, cameras=(*fake.spec.cameras, wrist))
    flight = Flight(fake, slot_tolerance=0.01)
    for index in range(100):
        flight.time.seconds = index * 0.05
        flight.pilot.image('front', IMAGE, round(flight.time.seconds * S))
        flight.pilot.image('wrist', IMAGE, round((flight.time.seconds - 0.02) * S))
    tally = flight.pilot.tally
    assert (tally.consecutive, flight.chunks) == (0, [])
    assert 4 <= tally.total <= 10
    assert 'slot_tolerance, 0.01 s' in tally.detail
    assert flight.reports[-1] == (tally.detail, False)
    flight.pilot.image('wrist', IMAGE, round(flight.time.seconds * S))
    assert flight.chunks


def test_driving_goes_on_where_the_chunk_before_had_got_to(flight):
    flight.say('go')
    before = flight.frame().data
    after = flight.frame(after=0.04).data
    assert after[0, 0] == pytest.approx(before[2, 0])
    assert (np.abs(np.diff(after[:, 0])) <= AXIS.max_accel * PERIOD + 1e-9).all()


@pytest.mark.parametrize('overlap', ['weighted', 'temporal_ensemble'])
def test_what_was_planned_for_the_text_before_is_no_advice(flight, fake, overlap):
    flight.pilot.fit(fake.spec, Execution(fake.spec, ROBOT, Blending(overlap)))
    for text, speed in (('go', 0.05), ('go elsewhere', -0.05)):
        flight.say(text)
        fake.action = speed
        chunk = flight.frame()
        assert chunk.data[-1, 0] == pytest.approx(speed)


def test_deltas_leave_as_velocities(fake):
    units = ('m', 'm', 'm', 'rad', 'rad', 'rad', '1')
    scale = (0.05,) * 6 + (1.0,)
    fake.spec = replace(
        fake.spec, representation=Representation.DELTA, action_units=units, action_scale=scale
    )
    flight = Flight(fake)
    flight.say('go')
    for _ in range(10):
        chunk = flight.frame()
    assert (chunk.representation, chunk.units) == (Representation.VELOCITY, NATIVE_UNITS)
    np.testing.assert_allclose(chunk.data[:, 0], 0.5 * 0.05 / fake.spec.step_dt, atol=1e-4)


def infer_for_two_seconds(flight, latency):
    """Return the frames, 0.04 s apart, that the policy sees when each takes it this long."""
    flight.pilot.hear('go', Source.TOPIC)
    seen = []
    for _ in range(50):
        flight.frame(after=0.04, work=False)
        if flight.worker.jobs:
            seen += [
                job.observation.stamp_ns for job in flight.worker.jobs if job != Encode(1, 'go')
            ]
            flight.time.seconds += latency
            flight.work()
            flight.time.seconds -= latency
    return seen


def test_every_frame_is_inferred_by_default(flight):
    assert len(infer_for_two_seconds(flight, 0.01)) == 49


@pytest.mark.parametrize(('lockstep', 'inferred'), [(False, 1), (True, 2)])
def test_no_frame_waits_for_another_but_in_lock_step(fake, lockstep, inferred):
    flight = Flight(fake, lockstep)
    flight.say('go')
    flight.frame()
    sent = len(flight.chunks)
    flight.worker.doing = Activity.BUSY
    flight.frame(after=0.04, work=False)
    flight.worker.doing = Activity.WAITING
    flight.frame(after=0.04)
    assert len(flight.chunks) == sent + inferred


@pytest.mark.parametrize(('latency', 'apart'), [(0.0, 0.4), (0.1, 0.28), (0.3, 0.08)])
def test_slow_policies_are_asked_early_enough_for_replan_after(fake, latency, apart):
    flight = Flight(fake, replan_after=0.4)
    stamps = infer_for_two_seconds(flight, latency)
    assert set(np.diff(stamps[1:]).tolist()) == {round(apart * S)}


def test_a_frame_that_failed_is_made_good_by_the_next(fake):
    flight = Flight(fake, replan_after=0.4)
    flight.say('go')
    flight.frame()
    fake.next = [NAN, NAN]
    flight.frame(after=0.44)
    assert not flight.chunks[-1].data.any()
    assert flight.frame(after=0.04).data.any()


def test_a_new_text_is_answered_by_its_first_frame(fake):
    flight = Flight(fake, replan_after=0.4)
    flight.say('go')
    flight.frame()
    flight.say('go elsewhere')
    assert flight.frame(after=0.04).instruction_id == 2
