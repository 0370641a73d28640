"""The node through its topics and its action, with a fake policy; one test per port or fault."""

import array
from dataclasses import replace
import math
from pathlib import Path
import time

from action_msgs.msg import GoalStatus
from nav_msgs.msg import Odometry
import pytest
from rclpy.action import ActionClient
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from std_msgs.msg import Header, String

from vla_core.errors import ActionRejected, ConfigError
from vla_core.types import Status
from vla_inference import loading
from vla_inference.policy_node import PolicyNode
from vla_interfaces.action import FollowInstruction
from vla_interfaces.msg import ActionChunk, Heartbeat, Instruction
from vla_ros import qos
from vla_ros.heartbeat import RUN
from vla_ros.in_turn import in_turn_executor

ROBOT = str(Path(__file__).parents[3] / 'config' / 'robots' / 'sim.yaml')
OK = TransitionCallbackReturn.SUCCESS
NAN = ActionRejected('actions are not finite')


class OutOfMemoryError(RuntimeError):
    """Stands for torch.cuda's, which is a RuntimeError too; the robot has no torch."""


NO_MEMORY = OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB')


class Stage:
    """The node, and a probe that plays camera, base, person and gate."""

    def __init__(self, context, **parameters):
        values = {'robot': ROBOT, 'checkpoint': 'fake', **parameters}
        self.node = PolicyNode(
            context=context,
            parameter_overrides=[Parameter(name, value=value) for name, value in values.items()],
        )
        self.probe = Node('probe', context=context)
        self.chunks, self.records, self.beats = [], [], []
        probe = self.probe
        probe.create_subscription(
            ActionChunk, 'vla/action_chunk', self.chunks.append, qos.chunk(False, 0.6)
        )
        probe.create_subscription(
            Instruction, 'vla/instruction', self.records.append, qos.INSTRUCTION
        )
        probe.create_subscription(Heartbeat, 'vla/heartbeat', self.beats.append, qos.HEARTBEAT)
        self.command = probe.create_publisher(String, 'command', qos.COMMAND)
        self.odom = probe.create_publisher(Odometry, 'odom', qos.ODOM)
        self.camera = probe.create_publisher(Image, 'vla/image/front', qos.SENSOR)
        self.action = ActionClient(probe, FollowInstruction, 'vla/follow_instruction')
        self.executor = in_turn_executor(context)
        self.executor.add_node(self.node)
        self.executor.add_node(probe)

    def until(self, condition, what, limit=20.0):
        """Spin until something is true; the limit only ends a test that has failed."""
        end = time.monotonic() + limit
        while not condition():
            assert time.monotonic() < end, f'waited in vain for: {what}'
            self.executor.spin_once(timeout_sec=0.02)

    def start(self):
        self.node.start()
        heard = self.node.count_subscribers
        for condition, what in (
            (self.command.get_subscription_count, 'command'),
            (self.camera.get_subscription_count, 'vla/image/front'),
            (self.odom.get_subscription_count, 'odom'),
            (self.action.server_is_ready, 'vla/follow_instruction'),
            (lambda: heard('vla/action_chunk'), 'somebody who hears vla/action_chunk'),
            (lambda: heard('vla/instruction'), 'somebody who hears vla/instruction'),
            (lambda: heard('vla/heartbeat'), 'somebody who hears vla/heartbeat'),
            (lambda: self.beats, 'a heartbeat'),
        ):
            self.until(condition, what)
        return self

    def say(self, text):
        self.command.publish(String(data=text))

    def image(self, **changes):
        msg = Image(encoding='rgb8', width=192, height=96, step=576)
        msg.data = array.array('B', bytes([90]) * (576 * 96))
        msg.header.stamp = self.probe.get_clock().now().to_msg()
        for name, value in changes.items():
            setattr(msg, name, value)
        self.camera.publish(msg)

    def frame(self, **changes):
        """Send frames, as a camera would, until one comes back as a chunk; return that chunk."""
        count = len(self.chunks)
        end = time.monotonic() + 20.0
        while len(self.chunks) == count:
            assert time.monotonic() < end, 'no frame became a chunk'
            self.image(**changes)
            self.executor.spin_once(timeout_sec=0.02)
        return self.chunks[-1]

    def chunk(self, condition, what):
        """Send frames until a chunk fulfils the condition."""
        end = time.monotonic() + 20.0
        while not condition(chunk := self.frame()):
            assert time.monotonic() < end, f'no chunk with {what}'
        return chunk

    def record(self, status):
        """Wait for a record of this status; return the newest such."""

        def found():
            return [record for record in self.records if record.status == status]

        self.until(found, f'record {status}')
        return found()[-1]

    def goal(self, text, deadline=0.0):
        """Send a goal; return its handle and the future of its result."""
        sent = self.action.send_goal_async(FollowInstruction.Goal(text=text, deadline=deadline))
        self.until(sent.done, 'answer to the goal')
        handle = sent.result()
        assert handle.accepted
        return handle, handle.get_result_async()

    def result(self, future):
        self.until(future.done, 'result')
        return future.result().status, future.result().result

    def beat(self, condition, what):
        """Wait for a heartbeat that is sent from now on and fulfils the condition."""
        del self.beats[:]
        self.until(lambda: any(condition(beat) for beat in self.beats), what)
        return next(beat for beat in self.beats if condition(beat))

    def close(self):
        self.node.close()
        self.executor.shutdown()
        # Until it is garbage, an action client keeps the participant alive beside the next test's.
        self.action.destroy()
        self.probe.destroy_node()
        self.node.destroy_node()


@pytest.fixture
def make_stage(context, fake, monkeypatch):
    monkeypatch.setattr(loading, 'load_policy', lambda *_: fake)
    stages = []

    def make(**parameters):
        stages.append(Stage(context, **parameters))
        return stages[-1]

    yield make
    fake.hang.set()
    for stage in stages:
        stage.close()


@pytest.fixture
def stage(make_stage):
    return make_stage().start()


def test_idle_frames_give_idle_zeros_with_the_frames_stamp(stage):
    header = Header(stamp=stage.probe.get_clock().now().to_msg(), frame_id='camera')
    chunk = stage.frame(header=header)
    assert chunk.observation_stamp == header.stamp
    assert chunk.header.stamp == header.stamp
    assert chunk.status == ActionChunk.STATUS_IDLE
    assert (chunk.step_dt, len(chunk.names), chunk.units[0]) == (0.02, 7, 'm/s')
    assert not any(chunk.data)
    assert chunk.policy_run == RUN


def test_text_becomes_a_record_then_chunks(stage, fake):
    stage.say('  Go to the\x07 red box ')
    record = stage.record(Instruction.STATUS_RUNNING)
    assert (record.id, record.text, record.source) == (1, 'Go to the red box', 0)
    assert record.policy_run == RUN
    assert record.source_stamp > 0
    chunk = stage.chunk(lambda c: c.instruction_id == 1, 'id 1')
    assert chunk.status == ActionChunk.STATUS_RUNNING
    assert chunk.data[0] == 0.0, 'it begins at rest'
    assert chunk.data[-len(chunk.names)] > 0.4
    assert chunk.model_id == 'fake'
    assert fake.encoded == ['move forward', 'Go to the red box']
    assert len(fake.threads) == 1


def test_stop_word_gives_idle_zeros_with_its_own_id(stage):
    stage.say('go')
    stage.chunk(lambda c: c.status == ActionChunk.STATUS_RUNNING, 'RUNNING')
    stage.say('Stop!')
    assert stage.record(Instruction.STATUS_STOPPED).id == 1
    assert stage.record(Instruction.STATUS_IDLE).id == 2
    chunk = stage.chunk(lambda c: c.instruction_id == 2, 'id 2')
    assert chunk.status == ActionChunk.STATUS_IDLE
    assert not any(chunk.data)


@pytest.mark.parametrize(
    'text',
    ['x' * 1_000_000, '', ' \t', '\x00\x01\x7f'],
    ids=['megabyte', 'empty', 'blank', 'control'],
)
def test_malformed_text_changes_nothing(stage, text):
    stage.say('go')
    stage.record(Instruction.STATUS_RUNNING)
    stage.say(text)
    record = stage.record(Instruction.STATUS_MALFORMED)
    assert (record.id, record.text) == (0, '')
    assert record.reason
    assert stage.frame().status == ActionChunk.STATUS_RUNNING
    assert stage.beat(lambda b: b.errors_total, 'count').consecutive_errors == 0


def test_flood_of_texts_ends_with_the_stop_that_ends_it(stage):
    for index in range(300):
        stage.say(f'go {index}')
    stage.say('stop')
    stop = stage.record(Instruction.STATUS_IDLE)
    chunk = stage.chunk(lambda c: c.instruction_id == stop.id, 'the id of the stop')
    assert not any(chunk.data)
    ids = [record.id for record in stage.records if record.id]
    assert ids == sorted(ids)
    assert stage.beat(lambda b: b.consecutive_errors == 0, 'no error in a row')


def test_refused_text_gives_zeros(stage):
    stage.say('nonsense')
    assert stage.record(Instruction.STATUS_REFUSED).id == 1
    chunk = stage.chunk(lambda c: c.instruction_id == 1, 'id 1')
    assert chunk.status == ActionChunk.STATUS_REFUSED
    assert not any(chunk.data)


@pytest.mark.parametrize(
    ('error', 'said'),
    [(NAN, 'not finite'), (NO_MEMORY, 'CUDA out of memory')],
    ids=['nan', 'no memory on the GPU'],
)
def test_failed_inference_is_counted_and_nothing_of_it_is_sent(stage, fake, error, said):
    stage.say('go')
    stage.record(Instruction.STATUS_RUNNING)
    fake.next = [error] * 10_000
    for _ in range(3):
        chunk = stage.frame()
        assert not any(chunk.data)
    beat = stage.beat(lambda b: b.consecutive_errors >= 3, 'errors in a row')
    assert said in beat.detail
    fake.next.clear()
    assert any(stage.chunk(lambda c: any(c.data), 'motion').data)
    assert all(math.isfinite(number) for chunk in stage.chunks for number in chunk.data)
    assert stage.beat(lambda b: b.consecutive_errors == 0, 'recovery').errors_total >= 3


@pytest.mark.parametrize(
    'changes',
    [
        {'encoding': 'mono16'},
        {'encoding': ''},
        {'width': 191},
        {'height': 0},
        {'width': 100_000, 'height': 100_000},
        {'step': 0},
        {'data': array.array('B', bytes(576 * 95))},
        {'data': array.array('B')},
        {'width': 96, 'step': 288, 'data': array.array('B', bytes(288 * 96))},
    ],
    ids=','.join,
)
def test_bad_image_is_counted_and_gives_no_chunk(stage, changes):
    stage.image(**changes)
    stage.beat(lambda b: b.errors_total >= 1, 'error')
    assert stage.chunks == []
    assert stage.frame().status == ActionChunk.STATUS_IDLE


@pytest.mark.parametrize('value', [math.nan, math.inf])
def test_bad_odometry_is_counted(stage, value):
    msg = Odometry()
    msg.twist.twist.linear.x = value
    stage.odom.publish(msg)
    stage.beat(lambda b: b.errors_total >= 1, 'error')


def turn(stage, rate):
    """Publish odometry, then a frame that is seen with it."""
    msg = Odometry()
    msg.header.stamp = stage.probe.get_clock().now().to_msg()
    msg.twist.twist.angular.z = rate
    stage.odom.publish(msg)
    stage.executor.spin_once(timeout_sec=0.02)
    stage.image()
    stage.executor.spin_once(timeout_sec=0.02)


def test_degrees_for_radians_are_errors_with_the_hint_and_give_no_chunk(
    make_stage, fake, trained_on
):
    fake.spec = replace(fake.spec, envelope=trained_on(90))
    stage = make_stage().start()
    stage.until(lambda: turn(stage, 40.0) or stage.beats[-1].consecutive_errors >= 5, 'errors')
    assert stage.chunks == []
    assert 'odom.w is 40: degrees per second instead of rad/s?' in stage.beats[-1].detail
    stage.until(lambda: turn(stage, 0.7) or stage.chunks, 'a chunk')
    assert stage.beat(lambda b: b.consecutive_errors == 0, 'recovery').errors_total >= 5


def test_pictures_unlike_the_trainings_are_a_warning_in_the_heartbeat(
    make_stage, fake, trained_on
):
    fake.spec = replace(fake.spec, envelope=trained_on(200))
    stage = make_stage().start()
    assert stage.beats[-1].warning == ''
    for _ in range(10):
        stage.frame()
    beat = stage.beat(lambda b: b.warning, 'warning')
    assert beat.warning.startswith('envelope.images.front.luminance is 0.353')
    assert (beat.errors_total, beat.detail) == (0, '')


def test_policy_trained_in_another_unit_is_not_configured(make_stage, fake, trained_on):
    fake.spec = replace(fake.spec, envelope=trained_on(90, turn=57.3))
    with pytest.raises(ConfigError, match=r'angular\.z up to 57\.3.*degrees per second'):
        make_stage().node.start()


def test_hang_shows_as_busy_and_the_worker_comes_back(make_stage, fake):
    stage = make_stage(hang_timeout=0.3).start()
    stage.say('go')
    stage.record(Instruction.STATUS_RUNNING)
    fake.hang.clear()
    stage.image()
    stage.until(lambda: len(fake.seen) > 2, 'inference')
    beat = stage.beat(lambda b: b.state == Heartbeat.STATE_BUSY and b.state_age > 0.2, 'BUSY')
    progress = beat.progress
    beat = stage.beat(lambda b: b.errors_total == 1, 'restart')
    assert beat.progress <= progress + 1
    fake.hang.set()
    chunk = stage.chunk(lambda c: c.status == ActionChunk.STATUS_RUNNING, 'RUNNING')
    assert chunk.instruction_id == 1
    stage.beat(lambda b: b.state != Heartbeat.STATE_BUSY, 'WAITING')


def test_heartbeat_knows_idle_from_waiting(stage):
    stage.beat(lambda b: b.state == Heartbeat.STATE_IDLE, 'IDLE')
    stage.say('go')
    stage.beat(lambda b: b.state == Heartbeat.STATE_WAITING, 'WAITING')
    beat = stage.beats[-1]
    assert (beat.node, beat.policy_run, beat.errors_total) == ('policy', RUN, 0)


def test_goal_is_done_when_the_policy_says_so(stage, fake):
    _, result = stage.goal('go to the red box')
    stage.chunk(lambda c: c.status == ActionChunk.STATUS_RUNNING, 'RUNNING')
    fake.done = 0.9
    stage.chunk(lambda c: c.status == ActionChunk.STATUS_DONE, 'DONE')
    status, outcome = stage.result(result)
    assert status == GoalStatus.STATUS_SUCCEEDED
    assert outcome.result == FollowInstruction.Result.RESULT_DONE
    assert outcome.instruction_id == 1
    assert outcome.elapsed > 0.5
    assert stage.record(Instruction.STATUS_DONE).source == Instruction.SOURCE_ACTION


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('move on', FollowInstruction.Result.RESULT_REPLACED),
        ('stop', FollowInstruction.Result.RESULT_STOPPED),
    ],
)
def test_text_ends_a_goal(stage, text, expected):
    _, result = stage.goal('go')
    stage.record(Instruction.STATUS_RUNNING)
    stage.say(text)
    status, outcome = stage.result(result)
    assert (status, outcome.result) == (GoalStatus.STATUS_ABORTED, expected)


def test_newer_goal_replaces_a_goal(stage):
    _, first = stage.goal('go')
    handle, second = stage.goal('go elsewhere')
    assert stage.result(first)[1].result == FollowInstruction.Result.RESULT_REPLACED
    stage.chunk(lambda c: c.instruction_id == 2, 'id 2')
    assert handle.status in (GoalStatus.STATUS_ACCEPTED, GoalStatus.STATUS_EXECUTING)
    assert not second.done()


def test_cancelled_goal_is_recorded_as_stop(stage):
    handle, result = stage.goal('go')
    stage.record(Instruction.STATUS_RUNNING)
    cancelled = handle.cancel_goal_async()
    stage.until(cancelled.done, 'answer to the cancel')
    status, outcome = stage.result(result)
    assert status == GoalStatus.STATUS_CANCELED
    assert outcome.result == FollowInstruction.Result.RESULT_STOPPED
    record = stage.record(Instruction.STATUS_IDLE)
    assert (record.text, record.source, record.source_stamp, record.id) == ('stop', 1, 0, 2)
    assert not any(stage.chunk(lambda c: c.instruction_id == 2, 'id 2').data)


@pytest.mark.parametrize(
    ('text', 'deadline', 'expected'),
    [
        ('nonsense', 0.0, FollowInstruction.Result.RESULT_REFUSED),
        ('', 0.0, FollowInstruction.Result.RESULT_MALFORMED),
        ('go', -1.0, FollowInstruction.Result.RESULT_MALFORMED),
        ('go', math.nan, FollowInstruction.Result.RESULT_MALFORMED),
        ('go', 0.2, FollowInstruction.Result.RESULT_TIMED_OUT),
    ],
)
def test_goal_that_cannot_succeed_is_aborted_with_its_reason(stage, text, deadline, expected):
    _, result = stage.goal(text, deadline)
    status, outcome = stage.result(result)
    assert (status, outcome.result) == (GoalStatus.STATUS_ABORTED, expected)
    assert outcome.reason


def test_stop_as_a_goal_succeeds_at_once(stage):
    _, result = stage.goal('stop')
    assert stage.result(result)[0] == GoalStatus.STATUS_SUCCEEDED


def test_without_autostart_texts_are_refused_until_activation(make_stage):
    stage = make_stage(autostart=False)
    stage.until(stage.command.get_subscription_count, 'discovery')
    stage.until(lambda: stage.node.count_subscribers('vla/instruction'), 'discovery')
    stage.say('go')
    assert 'not active' in stage.record(Instruction.STATUS_REFUSED).reason
    assert stage.node.trigger_configure() == OK
    assert stage.node.trigger_activate() == OK
    stage.say('go')
    assert stage.record(Instruction.STATUS_RUNNING).id == 2


def test_deactivation_sends_zeros_before_silence_and_a_new_life_goes_on(stage, fake):
    stage.say('go')
    before = stage.chunk(lambda c: c.status == ActionChunk.STATUS_RUNNING, 'RUNNING')
    assert stage.node.trigger_deactivate() == OK
    stage.until(lambda: stage.chunks[-1].sequence > before.sequence, 'last chunk')
    stage.until(lambda: not any(stage.chunks[-1].data), 'zeros')
    assert stage.record(Instruction.STATUS_STOPPED).id == 1
    last = stage.chunks[-1].sequence
    assert stage.node.trigger_cleanup() == OK
    assert fake.closed
    assert stage.node.trigger_configure() == OK
    assert stage.node.trigger_activate() == OK
    assert stage.frame().sequence > last
    del stage.records[:]
    stage.say('go')
    assert stage.record(Instruction.STATUS_RUNNING).id == 2


def test_shutdown_transition_sends_zeros_and_releases_the_policy(stage, fake):
    stage.say('go')
    before = stage.chunk(lambda c: c.status == ActionChunk.STATUS_RUNNING, 'RUNNING')
    assert stage.node.trigger_shutdown() == OK
    stage.until(lambda: not any(stage.chunks[-1].data), 'zeros')
    assert stage.chunks[-1].sequence > before.sequence
    assert fake.closed


def test_policy_that_cannot_be_loaded_is_named(make_stage, monkeypatch):
    def fail(*_):
        raise ConfigError('no such thing')

    monkeypatch.setattr(loading, 'load_policy', fail)
    with pytest.raises(ConfigError, match=r'fake: ConfigError: no such thing'):
        make_stage().node.start()


@pytest.mark.parametrize(
    ('parameters', 'message'),
    [
        ({'frobnicate': 1}, 'frobnicate'),
        ({'device': 'tpu'}, 'device'),
        ({'instruction_timeout': math.nan}, 'instruction_timeout'),
        ({'robot': '/nowhere/robot.yaml'}, 'nowhere'),
        ({'clock': 'lockstep'}, 'use_sim_time'),
        ({'motion_timeout': 10}, 'decimal point'),
        ({'checkpoint': 3}, 'checkpoint'),
        ({'ablate_language': True}, 'ablate_language'),
    ],
)
def test_wrong_parameter_is_refused_at_the_start(context, parameters, message):
    with pytest.raises(ConfigError, match=message):
        Stage(context, **parameters)


def test_lockstep_answers_every_frame_in_order(make_stage, fake):
    stage = make_stage(clock='lockstep', use_sim_time=True)
    sent = 25
    camera = stage.probe.create_publisher(Image, 'vla/image/front', qos.image(True))
    odom = stage.probe.create_publisher(Odometry, 'odom', qos.odom(True))
    stage.probe.create_subscription(
        ActionChunk, 'vla/action_chunk', stage.chunks.append, qos.chunk(True, 0.6)
    )
    stage.node.start()
    stage.until(
        lambda: (
            camera.get_subscription_count()
            and odom.get_subscription_count()
            and stage.node.count_subscribers('vla/action_chunk') == 2
            and stage.command.get_subscription_count()
        ),
        'discovery',
    )
    stage.say('go')
    stage.record(Instruction.STATUS_RUNNING)
    for tick in range(1, sent + 1):
        msg = Image(encoding='rgb8', width=192, height=96, step=576)
        msg.data = array.array('B', bytes(576 * 96))
        msg.header.stamp.nanosec = tick * 40_000_000 % 1_000_000_000
        msg.header.stamp.sec = tick * 40_000_000 // 1_000_000_000
        camera.publish(msg)
    for _ in range(20):
        stage.executor.spin_once(timeout_sec=0.02)
    assert stage.chunks == []
    for tick in range(1, 2 * sent + 1):
        msg = Odometry()
        msg.header.stamp.nanosec = tick * 20_000_000 % 1_000_000_000
        msg.header.stamp.sec = tick * 20_000_000 // 1_000_000_000
        odom.publish(msg)
    stage.until(lambda: len({c.sequence for c in stage.chunks}) == sent, 'every chunk')
    seen = sorted({(c.sequence, c.observation_stamp.nanosec) for c in stage.chunks})
    assert seen == [(i, i * 40_000_000 % 1_000_000_000) for i in range(1, sent + 1)]
    assert {c.status for c in stage.chunks} == {int(Status.RUNNING)}


def test_error_that_no_guard_has_seen_is_counted(stage):
    stage.node.failed(ValueError('cannot take'))
    assert stage.beat(lambda b: b.errors_total, 'count').detail == 'ValueError: cannot take'
