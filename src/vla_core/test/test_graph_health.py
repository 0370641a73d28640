"""What the monitor concludes from what it heard."""

from dataclasses import replace
import math

import numpy as np
import pytest

from vla_core.envelope import Envelope, Range
from vla_core.errors import ConfigError
from vla_core.graph_health import Alarm, Beat, GraphHealth, Level, MAX_NODES, MonitorConfig
from vla_core.policy import native_spec
from vla_core.types import (
    ActionChunk,
    LONGEST_INFERENCE,
    NATIVE_AXES,
    NATIVE_UNITS,
    PolicySpec,
    Status,
)

PERIOD_NS = 33_000_000
#: Heartbeat.STATE_*.
IDLE, WAITING, BUSY = range(3)


def chunk(index: int, forward: float = 0.3, **changes: object) -> ActionChunk:
    data = np.zeros((8, 7))
    data[:, 0] = forward
    data[:, 6] = 1.0
    values: dict[str, object] = {
        'stamp_ns': 1 + index * PERIOD_NS,
        'observation_stamp_ns': 1 + index * PERIOD_NS,
        'step_dt': 0.1,
        'sequence': index,
        'names': NATIVE_AXES,
        'units': NATIVE_UNITS,
        'data': data,
        'status': Status.RUNNING,
        'policy_run': 7,
        'instruction_id': 1,
        'inference_seconds': 0.02,
    }
    return ActionChunk(**(values | changes))  # type: ignore[arg-type]


def health_of(count: int = 0, **parameters: object) -> GraphHealth:
    """Return a graph in which all nodes live and `count` ordinary chunks were heard."""
    health = GraphHealth(MonitorConfig(robot='sim', **parameters))  # type: ignore[arg-type]
    for index in range(count):
        now = index * 0.033
        beat_all(health, now, Beat(WAITING, progress=index))
        health.image('camera/front', 1 + index * PERIOD_NS, now, 0.004)
        health.chunk(chunk(index), now + 0.02)
        health.hops.decision(1 + index * PERIOD_NS, now + 0.02, 0.025)
    return health


def beat_all(health: GraphHealth, now: float, policy: Beat) -> None:
    """Let all nodes live; gate and camera wait for input."""
    for name in ('gate', 'camera/front'):
        health.heartbeat(name, now, Beat(WAITING))
    health.heartbeat('policy', now, policy)


def alarms(health: GraphHealth, now: float) -> set[Alarm]:
    return {alarm for alarm, _ in health.alarms(now)}


def test_a_graph_of_which_nothing_was_heard_says_so() -> None:
    report = health_of().report(0.0)
    assert report.level == Level.ERROR
    assert [text for _, text in report.alarms] == [
        'gate: never heard',
        'policy: never heard',
        'camera/front: never heard',
    ]
    assert all(math.isnan(node.age) and math.isnan(node.rate) for node in report.nodes)
    assert math.isnan(report.baseline)
    assert report.action_names == report.action_variance == ()


def test_living_nodes_without_chunks_are_unknown_not_ok() -> None:
    health = health_of()
    for name in ('gate', 'policy', 'camera/front'):
        health.heartbeat(name, 10.0, Beat())
    assert health.report(10.1).level == Level.UNKNOWN


def test_an_ordinary_drive_is_ok() -> None:
    report = health_of(100).report(99 * 0.033 + 0.03)
    assert report.level == Level.OK
    assert not report.alarms
    assert report.inferences == 100
    assert report.baseline == pytest.approx(0.02)
    assert report.hops['camera_to_cmd_vel'].p50 == pytest.approx(0.025)
    assert report.hops['image_to_chunk'].rate == pytest.approx(1 / 0.033)
    assert [node.rate for node in report.nodes] == pytest.approx([1 / 0.033] * 3)
    assert report.action_names == NATIVE_AXES
    assert np.isfinite(report.action_variance).all()


@pytest.mark.parametrize('name', ['camera/', 'camera/front-left', '/gate', 'a/b/c'])
def test_node_that_can_have_no_such_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"nodes has '{name}'"):
        health_of(nodes=f'gate {name}')


def test_silence_is_an_error_that_names_the_node() -> None:
    health = health_of(30)
    for name in ('gate', 'camera/front'):
        health.heartbeat(name, 5.0, Beat())
    assert [text for _, text in health.alarms(5.1)] == ['policy: last heard 4.14 s ago']


def live(health: GraphHealth, begin: float, end: float, policy: Beat, images: bool) -> None:
    """Let all nodes live for a while; no chunk comes."""
    for now in np.arange(begin, end, 0.5).tolist():
        beat_all(health, now, policy)
        if images:
            health.image('camera/front', int(now * 1e9), now, 0.004)


def test_camera_that_lives_and_delivers_nothing_is_an_error() -> None:
    health = health_of(100)
    live(health, 3.3, 8.0, Beat(WAITING), images=False)
    assert health.report(8.0).level == Level.OK
    live(health, 8.0, 3600.0, Beat(WAITING), images=False)
    report = health.report(3600.0)
    assert report.level == Level.ERROR
    assert [text for _, text in report.alarms] == [
        'camera/front: no image for 3597 s',
        'nothing for 3597 s: ' + ', '.join(report.hops),
    ]
    for hop in report.hops.values():
        assert hop.count == 100
        assert math.isnan(hop.p50), 'what was measured an hour ago says nothing about now'
        assert math.isnan(hop.rate)


def test_camera_that_never_delivered_is_given_a_few_seconds() -> None:
    health = health_of()
    live(health, 100.0, 105.0, Beat(), images=False)
    assert alarms(health, 105.0) == set()
    beat_all(health, 105.1, Beat())
    assert alarms(health, 105.1) == {Alarm.STALLED}


def test_one_camera_of_two_that_delivers_nothing_is_named() -> None:
    health = health_of(nodes='camera/front camera/hand')
    for now in range(10):
        for name in ('camera/front', 'camera/hand'):
            health.heartbeat(name, now, Beat(WAITING))
        health.image('camera/front', now, now, 0.004)
    assert [text for _, text in health.alarms(9.0)] == ['camera/hand: no image for 9 s']


def test_an_idle_policy_owes_nothing_and_has_a_few_seconds_when_it_is_asked() -> None:
    health = health_of(100)
    live(health, 3.3, 60.0, Beat(IDLE), images=True)
    report = health.report(60.0)
    assert report.level == Level.OK
    assert report.quiet == ()
    assert math.isnan(report.hops['inference'].p50)
    live(health, 60.0, 64.0, Beat(WAITING), images=True)
    assert alarms(health, 64.0) == set()


def test_policy_that_makes_nothing_of_its_images_is_a_warning() -> None:
    health = health_of(100)
    live(health, 3.3, 9.5, Beat(WAITING), images=True)
    report = health.report(9.5)
    assert report.level == Level.WARN
    (text,) = [text for _, text in report.alarms]
    assert text.startswith('nothing for 6 s: image_to_chunk, inference')
    assert report.quiet == tuple(report.hops)[1:]


@pytest.mark.parametrize(('state_age', 'level'), [(0.4, Level.OK), (7200.0, Level.ERROR)])
def test_policy_that_hangs_in_an_inference_is_an_error(state_age: float, level: Level) -> None:
    health = health_of(100)
    health.heartbeat('policy', 3.3, Beat(BUSY, state_age))
    report = health.report(3.3)
    assert report.level == level
    hung = 'policy: busy for 7200.0 s: expected at most 0.5 s'
    assert [text for _, text in report.alarms] == ([hung] if level == Level.ERROR else [])


@pytest.mark.parametrize('count', [0, MAX_NODES + 1])
def test_nodes_that_would_not_be_watched_are_refused(count: int) -> None:
    names = ' '.join(f'camera/c{number}' for number in range(count))
    with pytest.raises(ConfigError, match=f'nodes has {count} names: expected 1 to {MAX_NODES}'):
        health_of(nodes=names)


def test_five_errors_in_a_row_are_an_alarm_with_their_reason() -> None:
    health = health_of(30)
    health.heartbeat('camera/front', 1.0, Beat(consecutive_errors=5, detail='step 3: expected 12'))
    assert (Alarm.FAILING, 'camera/front: 5 errors: step 3: expected 12') in health.alarms(1.0)


def test_slow_inference_asks_for_what_the_parameters_say() -> None:
    health = health_of(100, on_slow='hold', on_over_limit='controlled_stop')
    assert health.request() == ('none', '')
    for index in range(100, 110):
        health.chunk(chunk(index, inference_seconds=0.1), index * 0.033)
    assert alarms(health, 3.5) >= {Alarm.SLOW}
    assert health.request()[0] == 'hold'
    for index in range(110, 130):
        health.chunk(chunk(index, inference_seconds=2.0), index * 0.033)
    assert health.request()[0] == 'controlled_stop'
    assert 'expected at most 0.5 s' in health.request()[1]


def test_the_longest_inference_that_a_chunk_may_tell_is_forgotten_within_a_second() -> None:
    health = health_of(100)
    health.chunk(chunk(100, inference_seconds=LONGEST_INFERENCE), 3.3)
    assert health.request()[0] == 'hold'
    for index in range(101, 131):
        health.chunk(chunk(index), index * 0.033)
    assert health.request() == ('none', '')


@pytest.mark.parametrize('wanted', ['none', 'slow', 'hold', 'controlled_stop'])
def test_odd_actions_ask_for_what_the_parameter_says(wanted: str) -> None:
    health = health_of(100, on_odd_actions=wanted)
    assert health.request() == ('none', '')
    for index in range(100, 150):
        health.chunk(chunk(index, 0.8 * (-1) ** index), index * 0.033)
    assert Alarm.ODD_ACTIONS in alarms(health, 5.0)
    asked, text = health.request()
    assert (asked, 'odd chunks' in text) == (wanted, True)


def test_in_lock_step_nothing_is_asked_and_silence_is_longer() -> None:
    health = health_of(30, clock='lockstep', on_over_limit='controlled_stop')
    for index in range(30, 60):
        health.chunk(chunk(index, inference_seconds=2.0), index * 0.033)
    assert Alarm.OVER_LIMIT in alarms(health, 2.0)
    assert health.request() == ('none', '')
    assert Alarm.SILENT not in alarms(health, 5.0)
    assert Alarm.SILENT in alarms(health, 7.0)


def test_idle_chunks_teach_nothing_about_actions() -> None:
    health = health_of(30)
    before = health.report(1.0).action_variance
    for index in range(30, 90):
        health.chunk(chunk(index, 0.0, status=Status.IDLE, inference_seconds=0.0), index * 0.033)
    report = health.report(3.0)
    assert report.action_variance == before
    assert report.inferences == 30


def test_rejected_and_jumping_chunks_become_an_alarm_and_stay_counted() -> None:
    health = health_of(30)
    for index in range(30, 80):
        health.chunk(chunk(index, 0.8 * (-1) ** index), index * 0.033)
        health.reject_chunk()
    assert alarms(health, 3.0) >= {Alarm.ODD_ACTIONS, Alarm.DISAGREEMENT}
    counted = health.report(3.0).anomalies
    assert counted > 90
    health.chunk(chunk(0, policy_run=8), 3.0)
    assert Alarm.ODD_ACTIONS not in alarms(health, 3.0)
    assert health.report(3.0).anomalies == counted


def test_what_the_policy_answered_is_judged_and_not_what_was_made_of_it() -> None:
    health = health_of(30)
    for index in range(30, 130):
        answer = np.zeros((4, 7))
        answer[:, 0] = 0.9 * (-1) ** index
        health.chunk(chunk(index, 0.3, predicted=answer), index * 0.033)
    found = [text for alarm, text in health.alarms(4.2) if alarm is Alarm.ODD_ACTIONS]
    assert found
    assert 'jump 99' in found[0]


def test_alarms_of_a_policy_end_when_the_robot_rests() -> None:
    health = health_of(30, warm_up=0)
    for index in range(30, 60):
        health.chunk(chunk(index, inference_seconds=2.0), index * 0.033)
    assert Alarm.OVER_LIMIT in alarms(health, 2.0)
    assert health.request()[0] == 'hold'
    health.chunk(chunk(60, 0.0, status=Status.DONE, inference_seconds=0.0), 2.1)
    assert Alarm.OVER_LIMIT not in alarms(health, 2.1)
    assert health.request() == ('none', '')
    health.chunk(chunk(61, inference_seconds=2.0), 2.2)
    assert health.request()[0] == 'hold'


def test_node_that_nobody_expects_may_go() -> None:
    health = health_of(30)
    health.heartbeat('sim', 1.0, Beat(warning='odd'))
    now = 5.0
    for name in ('gate', 'policy', 'camera/front'):
        health.heartbeat(name, now, Beat())
    assert Alarm.SILENT not in alarms(health, now)
    silent = {node.name for node in health.report(now).nodes if node.silent}
    assert silent == {'sim'}, 'a stranger may go, and is not said to live meanwhile'
    beat_all(health, 12.0, Beat())
    health.image('camera/front', 9, 12.0, 0.004)
    assert health.alarms(12.0) == ()
    assert 'sim' not in [node.name for node in health.report(12.0).nodes]


def test_an_axis_at_its_end_is_an_alarm_and_a_gripper_is_not() -> None:
    health = health_of()
    for index in range(100):
        health.chunk(chunk(index, 1.0), index * 0.033)
    found = [text for alarm, text in health.alarms(3.3) if alarm is Alarm.SATURATED]
    assert found == ['linear.x is at its end in 100% of chunks']


def test_a_new_run_is_not_measured_by_the_old_ones_latency() -> None:
    health = health_of(100)
    for index in range(100):
        health.chunk(chunk(index, policy_run=8, inference_seconds=0.1), 3.3 + index * 0.1)
    assert Alarm.SLOW not in alarms(health, 14.0)


def test_wrong_stamps_are_an_alarm() -> None:
    health = health_of(30)
    health.image('camera/front', 5, 1.0, 3600.0)
    assert alarms(health, 1.0) == {Alarm.STAMPS}


FORWARD = Range(mean=0.2, std=0.2, min=-0.3, q01=-0.3, q99=0.45, max=0.45, count=100)
SPEC = replace(native_spec('demo'), envelope=Envelope('100 pictures', {'linear.x': FORWARD}))


def drive(health: GraphHealth, count: int, forward: float, **changes: object) -> GraphHealth:
    for index in range(count):
        health.chunk(chunk(index, forward, **changes), index * 0.033)
    return health


def outside(health: GraphHealth) -> list[str]:
    return [text for alarm, text in health.alarms(1.0) if alarm is Alarm.OUTSIDE]


@pytest.mark.parametrize('wanted', ['none', 'slow', 'hold', 'controlled_stop'])
def test_action_outside_of_the_training_is_a_warning_and_asks_for_what_it_is_told(
    wanted: str,
) -> None:
    health = GraphHealth(MonitorConfig(robot='sim', on_outside=wanted), SPEC)
    drive(health, 100, 0.4)
    assert outside(health) == []
    assert health.request() == ('none', '')
    drive(health, 10, 0.93)
    (text,) = outside(health)
    assert text.startswith('envelope.actions.linear.x is 0.93, limit 0.55: trained on -0.3 to 0.4')
    assert Alarm.OUTSIDE.level is Level.WARN
    assert health.request() == (wanted, text)
    share, count = health.report(1.0).outside['linear.x']
    assert share > 0.5
    assert count == 10
    drive(health, 1, 0.4, policy_run=8)
    assert outside(health) == []


def test_margin_is_a_parameter() -> None:
    health = GraphHealth(MonitorConfig(robot='sim', envelope_margin=3.0), SPEC)
    assert outside(drive(health, 100, 0.93)) == []


@pytest.mark.parametrize('spec', [None, native_spec('hold')])
def test_without_a_training_nothing_is_outside_and_that_is_said(spec: PolicySpec | None) -> None:
    health = drive(GraphHealth(MonitorConfig(robot='sim'), spec), 100, 100.0)
    assert outside(health) == []
    assert health.report(1.0).outside == {}
    assert 'no ' in health.basis


def test_what_a_node_warns_of_is_passed_on_and_asks_for_a_stop_too() -> None:
    health = GraphHealth(MonitorConfig(robot='sim', on_outside='hold'))
    warning = 'envelope.images.front.luminance is 0.05, limit 0.12'
    health.heartbeat('policy', 0.0, Beat(warning=warning))
    assert outside(health) == [f'policy: {warning}']
    assert health.request() == ('hold', f'policy: {warning}')
    health.heartbeat('policy', 0.1, Beat())
    assert health.request() == ('none', '')


def test_the_gravest_request_wins() -> None:
    config = MonitorConfig(robot='sim', on_outside='slow', on_over_limit='hold', warm_up=0)
    health = drive(GraphHealth(config, SPEC), 30, 0.93, inference_seconds=2.0)
    assert health.request()[0] == 'hold'


def test_odd_chunks_that_come_and_go_toggle_no_alarm() -> None:
    health = health_of(100)
    changes, before = 0, False
    for index in range(100, 2000):
        # A jump there and one back in each ten: about as many as the limit allows.
        health.chunk(chunk(index, 0.3 if index % 10 else 1.5), index * 0.033)
        now = Alarm.ODD_ACTIONS in alarms(health, 1.0)
        changes += now != before
        before = now
    assert changes <= 1


def test_names_without_end_do_not_fill_the_memory() -> None:
    health = health_of()
    for index in range(10 * MAX_NODES):
        health.heartbeat(f'node{index}', 0.0, Beat())
    assert len(health.report(0.0).nodes) == MAX_NODES
