"""The gate node through its topics and services."""

from contextlib import contextmanager
import math
import time

from geometry_msgs.msg import Twist, TwistStamped
import pytest
import rclpy
from rclpy.context import Context
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import Bool, String

from vla_core.errors import ConfigError
from vla_core.gate.causes import Cause, State
from vla_core.gate.messages import EventKind, StopLevel
from vla_interfaces.msg import Cause as CauseMsg
from vla_interfaces.msg import Heartbeat, Instruction, SafetyEvent, SafetyState, StopRequest
from vla_ros.conversion import to_time

ACTIVE = SafetyState.STATE_ACTIVE
STOPPED = SafetyState.STATE_STOPPED
ESTOP = SafetyState.STATE_ESTOP
LATCHED = QoSProfile(
    depth=1,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
    reliability=ReliabilityPolicy.RELIABLE,
)
BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


def _constants(kind, prefix=''):
    return {
        name.removeprefix(prefix): value
        for name, value in vars(type(kind)).items()
        if isinstance(value, property) is False and name.isupper() and name.startswith(prefix)
    }


@pytest.mark.parametrize(
    ('enum', 'kind', 'prefix'),
    [
        (Cause, CauseMsg, ''),
        (State, SafetyState, 'STATE_'),
        (EventKind, SafetyEvent, 'KIND_'),
        (StopLevel, StopRequest, ''),
    ],
)
def test_core_and_messages_use_the_same_numbers(enum, kind, prefix):
    for member in enum:
        assert getattr(kind, prefix + member.name) == member.value


def test_walk_from_start_to_driving_and_back(rig):
    rig.until_state(STOPPED)
    rig.drive()
    decision = rig.last('safety/decision')
    assert decision.wanted.linear.x == 0.3
    assert decision.policy_run == 1234
    assert decision.observation_stamp.sec > 0
    assert rig.call('disarm').success
    rig.until_state(STOPPED)
    assert rig.speed == Twist()

    def kinds():
        return [event.text for event in rig.heard['safety/events'] if event.kind == 0]

    rig.until(lambda: kinds()[-1] == 'CONTROLLED_STOP to STOPPED', 'the last event')
    assert kinds()[-5:] == [
        'INIT to STOPPED',
        'STOPPED to ARMING',
        'ARMING to ACTIVE',
        'ACTIVE to CONTROLLED_STOP: DISARMED',
        'CONTROLLED_STOP to STOPPED',
    ]


def test_refusals_say_why(rig):
    rig.running = False
    rig.until(lambda: rig.heard['safety/decision'], 'a decision')
    answer = rig.call('arm')
    assert not answer.success
    assert 'state is INIT' in answer.message
    assert 'odom' in answer.message
    answer = rig.call('reset')
    assert not answer.success
    assert 'state is INIT: expected ESTOP' in answer.message


@pytest.mark.parametrize(
    'profile', [10, LATCHED, BEST_EFFORT], ids=['default', 'latched', 'best effort']
)
def test_every_kind_of_estop_publisher_is_heard(rig, profile):
    button = rig.node.create_publisher(Bool, 'safety/estop', profile)
    rig.drive()
    expected = 2 if profile is LATCHED else 1
    rig.until(lambda: button.get_subscription_count() >= expected, 'both subscriptions')
    button.publish(Bool(data=True))
    rig.until_state(ESTOP)
    assert rig.last('safety/decision').published == Twist()
    assert rig.last('safety/decision').cause == CauseMsg.ESTOP_INPUT
    rig.until(lambda: rig.speed == Twist(), 'zero')
    button.publish(Bool(data=False))
    rig.until(lambda: not rig.last('safety/decision').causes, 'released')
    assert rig.state() == ESTOP
    rig.until(lambda: not rig.last('safety/state').blockers, 'ready to reset')
    assert rig.call('reset').success
    rig.until_state(STOPPED)


def test_button_that_was_pressed_before_the_gate_started(make_rig):
    rig = make_rig(start=False)
    button = rig.node.create_publisher(Bool, 'safety/estop', LATCHED)
    button.publish(Bool(data=True))
    rig.start()
    rig.until_state(ESTOP)
    assert rig.last('safety/decision').cause == CauseMsg.ESTOP_INPUT


@contextmanager
def stranger(domain_id):
    """A node of another process, as far as the middleware can see."""
    context = Context()
    rclpy.init(args=[], context=context, domain_id=domain_id)
    node = Node('stranger', context=context)
    yield node
    node.destroy_node()
    rclpy.shutdown(context=context)


def test_robot_that_needs_a_button_is_stopped_when_the_last_one_is_gone(make_rig):
    rig = make_rig(estop='required')
    with stranger(rig.context.get_domain_id()) as other:
        # Something else of that name is no button.
        other.create_publisher(String, 'safety/estop', 10)
        rig.until(lambda: rig.node.count_publishers('safety/estop'), 'the other one')
        rig.until(lambda: rig.heard['safety/decision'], 'a decision')
        assert 'estop' in rig.call('arm').message
    button = rig.node.create_publisher(Bool, 'safety/estop', 10)
    rig.drive()
    rig.node.destroy_publisher(button)
    rig.until(lambda: rig.state() != ACTIVE, 'a stop')
    assert rig.last('safety/decision').cause == CauseMsg.ESTOP_INPUT_LOST
    rig.until_state(STOPPED)
    assert rig.speed == Twist()


def test_estop_service_stops(rig):
    rig.drive()
    assert rig.call('trigger_estop').success
    rig.until_state(ESTOP)
    assert not rig.call('arm').success


@pytest.mark.parametrize('level', [0, 1, 2, 77])
def test_stop_requests(rig, level):
    requests = rig.node.create_publisher(StopRequest, 'safety/request', 10)
    rig.drive()
    rig.until(requests.get_subscription_count, 'the gate')
    states = {
        0: SafetyState.STATE_HOLD,
        1: SafetyState.STATE_CONTROLLED_STOP,
        2: ESTOP,
        77: ESTOP,
    }
    rig.send(
        lambda: requests.publish(StopRequest(level=level, source='test', reason='because')),
        lambda: any(msg.state == states[level] for msg in rig.heard['safety/decision']),
        'the stop',
    )


BAD_CHUNKS = {
    'nan': {'data': [math.nan] * 56},
    'infinite': {'data': [0.0] * 55 + [math.inf]},
    'width': {'data': [0.1] * 64},
    'short': {'data': [0.1]},
    'empty': {'data': [], 'names': [], 'units': [], 'horizon': 0},
    'units': {'units': ['m/s'] * 7},
    'representation': {'representation': 1},
    'status': {'status': 99},
    'huge': {'data': [1e308] * 56},
    'step': {'step_dt': math.nan},
    'no step': {'step_dt': 5e-324},
}


@pytest.mark.parametrize('kind', BAD_CHUNKS)
def test_bad_chunk_is_zero_that_step_and_counted(rig, kind):
    rig.drive()
    rig.running = False
    before = len(rig.heard['safety/decision'])
    decisions = rig.heard['safety/decision']
    rig.send(
        lambda: rig.chunks.publish(rig.chunk(**BAD_CHUNKS[kind])),
        lambda: any(msg.errors_total for msg in decisions[before:]),
        'a rejection',
    )
    first = next(msg for msg in decisions[before:] if msg.errors_total)
    assert first.wanted == Twist()
    assert first.consecutive_errors == 1
    assert 0.0 <= first.published.linear.x <= 0.3
    assert all(math.isfinite(msg.published.linear.x) for msg in decisions)
    rig.until(
        lambda: any(
            event.kind == SafetyEvent.KIND_REJECTED for event in rig.heard['safety/events']
        ),
        'an event',
    )


def test_stop_word_by_topic_stops_and_the_next_instruction_moves(rig):
    texts = rig.node.create_publisher(String, 'command', 10)
    records = rig.node.create_publisher(Instruction, 'vla/instruction', LATCHED)
    stamps = []
    rig.node.create_subscription(
        String, 'command', lambda msg, info: stamps.append(info['source_timestamp']), 10
    )
    rig.drive()
    rig.until(lambda: texts.get_subscription_count() == 2, 'the gate')
    rig.until(records.get_subscription_count, 'the gate')
    texts.publish(String(data='Stop, please!'))
    rig.until(lambda: rig.last('safety/decision').cause == CauseMsg.STOP_WORD, 'STOP_WORD')
    rig.until(lambda: rig.speed == Twist(), 'zero')
    assert rig.state() == ACTIVE
    rig.until(lambda: stamps, 'its source timestamp')
    records.publish(Instruction(source_stamp=stamps[0], policy_run=1234, id=2, text='stop'))
    rig.until(lambda: rig.last('safety/decision').instruction_id == 2, 'the record')
    assert rig.last('safety/decision').cause == CauseMsg.STOP_WORD
    for _ in range(3):
        rig.chunks.publish(rig.chunk(instruction_id=3))
        rig.executor.spin_once(timeout_sec=0.05)
    rig.until(lambda: rig.last('safety/decision').cause == CauseMsg.NONE, 'the next instruction')


def test_second_writer_latches(rig):
    rig.drive()
    rogue = rig.node.create_publisher(Twist, 'cmd_vel', 1)
    rig.until_state(ESTOP)
    assert rig.last('safety/decision').cause == CauseMsg.SECOND_WRITER
    rig.node.destroy_publisher(rogue)


def test_person_drives_an_unarmed_robot(rig):
    joystick = rig.node.create_publisher(Twist, 'cmd_vel_human', 1)
    rig.until_state(STOPPED)
    wish = Twist()
    wish.linear.x = -0.2
    rig.node.create_timer(0.1, lambda: joystick.publish(wish))
    rig.until(lambda: rig.speed.linear.x < -0.19, 'backwards')
    assert rig.state() == SafetyState.STATE_MANUAL


@pytest.mark.parametrize(('age', 'moves'), [(0.0, True), (0.7, False)])
def test_stamped_wish_is_as_old_as_it_says(make_rig, age, moves):
    rig = make_rig({'enable_stamped_cmd_vel_human': True})
    joystick = rig.node.create_publisher(TwistStamped, 'cmd_vel_human', 1)
    rig.until_state(STOPPED)

    def wish():
        msg = TwistStamped()
        msg.twist.linear.x = -0.2
        now = rig.node.get_clock().now().nanoseconds
        msg.header.stamp = to_time(now - round(age * 1e9))
        joystick.publish(msg)

    rig.node.create_timer(0.1, wish)
    if moves:
        rig.until(lambda: rig.speed.linear.x < -0.19, 'backwards')
    else:
        heard = len(rig.heard['cmd_vel'])
        rig.until(lambda: len(rig.heard['cmd_vel']) > heard + 50, 'a second of commands')
        assert rig.speed == Twist()


def test_bouncing_button_stops(rig):
    button = rig.node.create_publisher(Bool, 'safety/estop', 10)
    rig.until(lambda: button.get_subscription_count() >= 2, 'the gate')
    rig.drive()
    for pressed in (True, False, False):
        button.publish(Bool(data=pressed))
    rig.until_state(ESTOP)


def test_exception_in_a_callback_latches_and_the_node_lives(rig, monkeypatch):
    rig.drive()

    def broken(_):
        raise KeyError('bug')

    monkeypatch.setattr('vla_safety.inbox.chunk_from_msg', broken)
    rig.until_state(ESTOP)
    assert rig.last('safety/decision').cause == CauseMsg.INTERNAL_ERROR
    count = len(rig.heard['cmd_vel'])
    rig.until(lambda: len(rig.heard['cmd_vel']) > count + 20, 'further zeros')
    assert rig.speed == Twist()


def test_stamped_velocity(make_rig):
    rig = make_rig({'enable_stamped_cmd_vel': True, 'frame_id': 'base'})
    rig.drive()
    assert rig.last('cmd_vel').header.frame_id == 'base'
    assert rig.last('cmd_vel').header.stamp.sec > 0


def test_heartbeat_of_the_gate(rig):
    beats = rig.hear(Heartbeat, 'vla/heartbeat')
    rig.until(lambda: any(beat.node == 'gate' for beat in beats), 'a heartbeat')


def test_last_words_are_half_a_second_of_zeros(rig):
    rig.drive()
    rig.executor.remove_node(rig.gate)
    rig.heard['cmd_vel'].clear()
    start = time.monotonic()
    rig.gate.close()
    assert 0.5 <= time.monotonic() - start < 5.0
    rig.until(lambda: rig.heard['cmd_vel'], 'last words')
    assert rig.speed == Twist()


@pytest.mark.parametrize(
    ('parameters', 'parts'),
    [
        ({'speeed_scale': 0.5}, ('speeed_scale', 'unknown')),
        ({'speed_scale': 0.0}, ('speed_scale', '0.0', '[0.05, 1]')),
        ({'speed_scale': math.nan}, ('speed_scale', 'nan')),
        ({'clock': 'wall'}, ('clock', "'wall'", 'steady, lockstep')),
        ({'clock': 'lockstep'}, ('clock', 'use_sim_time')),
        ({'lockstep_latency': 0.0}, ('lockstep_latency', '0.0')),
        ({'robot': 'nobody'}, ('robot', 'nobody')),
    ],
)
def test_bad_parameter_is_refused_before_anything_is_published(make_rig, parameters, parts):
    with pytest.raises(ConfigError) as error:
        make_rig(parameters)
    for part in parts:
        assert part in str(error.value)


def test_unlimited_robot_is_refused(make_rig):
    with pytest.raises(ConfigError, match='max_speed'):
        make_rig(odom='required\nmax_speed: 3.0')


@pytest.mark.parametrize(
    ('kind', 'topic', 'profile', 'expected'),
    [
        (String, 'command', BEST_EFFORT, 'std_msgs/msg/String, reliable'),
        (StopRequest, 'safety/request', BEST_EFFORT, 'vla_interfaces/msg/StopRequest, reliable'),
        (TwistStamped, 'cmd_vel_human', 10, 'geometry_msgs/msg/Twist, reliable'),
        (String, 'safety/estop', 10, 'std_msgs/msg/Bool'),
        (Bool, 'safety/estop', BEST_EFFORT, ''),
        (String, 'command', 10, ''),
    ],
)
def test_publishers_that_the_gate_cannot_hear_are_named(rig, kind, topic, profile, expected):
    def warned() -> list[str]:
        return [text for text in rig.last('safety/state').warnings if 'not heard' in text]

    rig.until_state(STOPPED)
    assert not warned()
    with stranger(rig.node.context.get_domain_id()) as node:
        node.create_publisher(kind, topic, profile)
        if expected:
            rig.until(warned, 'a warning')
            assert warned() == [
                f'/{topic}: not heard from 1 of its publishers: expected {expected}'
            ]
        else:
            told = len(rig.heard['safety/state'])
            rig.until(lambda: len(rig.heard['safety/state']) > told + 2, 'three reports')
            assert not warned()
    rig.until(lambda: not warned(), 'its end')
