"""One test per port of the monitor, and what it makes of nonsense."""

from collections.abc import Callable, Iterator
from dataclasses import replace
import math
from pathlib import Path
import time
from typing import Any

from ament_index_python.packages import get_package_share_directory
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
import pytest
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo

from vla_core.envelope import Envelope, Range
from vla_core.errors import ConfigError
from vla_core.graph_health import MonitorConfig
from vla_core.manifest import IncludedLanguage, load_manifest, write_manifest
from vla_core.parameters import build, load_yaml
from vla_core.policy import native_spec
from vla_core.types import NATIVE_AXES, NATIVE_UNITS
from vla_interfaces.msg import (
    ActionChunk,
    Decision,
    HealthReport,
    Heartbeat,
    Instruction,
    StopRequest,
)
from vla_monitor.monitor_node import MonitorNode
from vla_ros import qos
from vla_ros.conversion import to_time
from vla_ros.domains import process_domain

DOMAIN = process_domain()
NODES = ('gate', 'policy', 'camera')


class Bench:
    """One monitor and a graph that can be played to it."""

    def __init__(self, context: Context, **parameters: Any) -> None:
        values = {'robot': 'sim'} | parameters
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        self.monitor = MonitorNode(
            context=context, namespace='/one', parameter_overrides=overrides
        )
        self.peer = Node('peer', context=context, namespace='/one')
        self.reports: list[HealthReport] = []
        self.diagnostics: list[DiagnosticArray] = []
        self.requests: list[StopRequest] = []
        self.beats: list[Heartbeat] = []
        hear = self.peer.create_subscription
        hear(HealthReport, 'vla/health', self.reports.append, 10)
        hear(DiagnosticArray, '/diagnostics', self.diagnostics.append, 10)
        hear(StopRequest, 'safety/request', self.requests.append, 10)
        hear(Heartbeat, 'vla/heartbeat', self._on_beat, 10)
        say = self.peer.create_publisher
        self.heartbeat = say(Heartbeat, 'vla/heartbeat', 50)
        self.chunk = say(ActionChunk, 'vla/action_chunk', 50)
        self.decision = say(Decision, 'safety/decision', 50)
        self.info = say(CameraInfo, 'vla/image/front/camera_info', qos_profile_sensor_data)
        self.instruction = say(Instruction, 'vla/instruction', qos.INSTRUCTION)
        self._executor = SingleThreadedExecutor(context=context)
        for node in (self.monitor, self.peer):
            self._executor.add_node(node)
        publishers = (self.heartbeat, self.chunk, self.decision, self.info, self.instruction)
        assert self.until(lambda: all(one.get_subscription_count() for one in publishers))

    def until(self, condition: Callable[[], bool], timeout: float = 15.0) -> bool:
        """Spin until the condition holds; return whether it came to hold in time."""
        end = time.monotonic() + timeout
        while not condition() and time.monotonic() < end:
            self._executor.spin_once(timeout_sec=0.02)
        return condition()

    def report(self, condition: Callable[[HealthReport], bool]) -> HealthReport:
        """Wait for a report of which the condition holds."""
        assert self.until(lambda: bool(self.reports) and condition(self.reports[-1])), (
            self.reports[-1:]
        )
        return self.reports[-1]

    def beat(self, **changes: Any) -> None:
        for node in NODES:
            values = {'node': node, 'slot': 'front' if node == 'camera' else ''} | changes
            self.heartbeat.publish(Heartbeat(**values))

    def frame(self, **changes: Any) -> None:
        """Play one frame through the whole graph, 25 ms from the camera to the command."""
        now = self.peer.get_clock().now().nanoseconds
        observed = to_time(now - 25_000_000)
        info = CameraInfo()
        info.header.stamp = observed
        self.info.publish(info)
        self.spin(0.002)
        self.chunk.publish(chunk(observed, **changes))
        decision = Decision(observation_stamp=observed)
        decision.header.stamp = to_time(now)
        self.decision.publish(decision)
        self.spin(0.002)

    def spin(self, seconds: float) -> None:
        self.until(lambda: False, seconds)

    def close(self) -> None:
        self._executor.shutdown()
        self.monitor.destroy_node()
        self.peer.destroy_node()

    def _on_beat(self, msg: Heartbeat) -> None:
        if msg.node == 'monitor':
            self.beats.append(msg)


def chunk(observed: Any, **changes: Any) -> ActionChunk:
    msg = ActionChunk(
        observation_stamp=observed,
        step_dt=0.1,
        horizon=8,
        names=list(NATIVE_AXES),
        units=list(NATIVE_UNITS),
        data=[0.3, 0.0, 0.0, 0.0, 0.0, 0.1, 1.0] * 8,
        status=ActionChunk.STATUS_RUNNING,
        policy_run=7,
        instruction_id=1,
        inference_seconds=0.012,
    )
    msg.header.stamp = observed
    for name, value in changes.items():
        setattr(msg, name, value)
    return msg


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Bench]]:
    """Make monitors on a domain of their own, heard by nobody outside this machine."""
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    context = Context()
    rclpy.init(args=[], context=context, domain_id=DOMAIN)
    made: list[Bench] = []

    def make(**parameters: Any) -> Bench:
        made.append(Bench(context, **parameters))
        return made[-1]

    yield make
    for one in made:
        one.close()
    rclpy.try_shutdown(context=context)


def test_a_silent_graph_is_reported_as_unheard_not_as_zero(bench: Callable[..., Bench]) -> None:
    report = bench().report(lambda report: True)
    assert report.level == HealthReport.LEVEL_ERROR
    assert 'policy: never heard' in report.alarms
    by_name = {node.name: node for node in report.nodes}
    assert math.isnan(by_name['policy'].heartbeat_age)
    assert all(math.isnan(hop.p50) and hop.count == 0 for hop in report.hops)
    assert math.isnan(report.latency_mean)
    assert report.inference_count == 0


def test_every_hop_of_a_drive_is_measured(bench: Callable[..., Bench]) -> None:
    rig = bench(silence=5.0)
    for _ in range(40):
        rig.beat(progress=3)
        rig.frame()
    report = rig.report(lambda report: all(hop.count >= 20 for hop in report.hops))
    assert report.level == HealthReport.LEVEL_OK, report.alarms
    hops = {hop.name: hop for hop in report.hops}
    assert hops['camera_to_cmd_vel'].p50 == pytest.approx(0.025, abs=1e-6)
    assert hops['inference'].p99 == pytest.approx(0.012)
    assert hops['camera_to_image'].p50 >= 0.025
    assert hops['image_to_chunk'].rate > 0.0
    assert report.latency_baseline == pytest.approx(0.012)
    assert list(report.action_names) == list(NATIVE_AXES)
    assert {node.name for node in report.nodes} >= {'gate', 'policy', 'camera/front', 'monitor'}
    assert all(node.heartbeat_rate > 0.0 for node in report.nodes)


def test_diagnostics_name_robot_nodes_hops_and_instruction(bench: Callable[..., Bench]) -> None:
    rig = bench(silence=5.0)
    record = Instruction(id=4, text='go to the red box', status=Instruction.STATUS_RUNNING)
    rig.instruction.publish(record)
    rig.beat(consecutive_errors=6, detail='step 3: expected 12')
    rig.until(lambda: len(rig.diagnostics) > 1)
    statuses = {status.name: status for status in rig.diagnostics[-1].status}
    assert {'one/vla/black_box', 'one/vla', 'one/vla/node/camera/front'} <= set(statuses)
    assert {'one/vla/hop/camera_to_cmd_vel'} <= set(statuses)
    overall = {pair.key: pair.value for pair in statuses['one/vla'].values}
    assert overall['instruction'] == "4 'go to the red box': running"
    assert overall['inference baseline [s]'] == 'unknown'
    camera = statuses['one/vla/node/camera/front']
    assert camera.level == DiagnosticStatus.ERROR
    assert camera.message == 'camera/front: 6 errors: step 3: expected 12'
    assert statuses['one/vla/hop/inference'].message == 'unknown'


def test_inference_over_the_limit_asks_for_what_the_parameter_says(
    bench: Callable[..., Bench],
) -> None:
    rig = bench(warm_up=0, on_over_limit='hold')

    def asked() -> bool:
        rig.frame(inference_seconds=0.9)
        return bool(rig.requests)

    assert rig.until(asked)
    request = rig.requests[0]
    assert (request.level, request.source) == (StopRequest.HOLD, 'monitor')
    assert 'expected at most 0.5 s' in request.reason


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """Make a checkpoint that was trained on -0.3 to 0.45 m/s."""
    folder = tmp_path / 'trained'
    folder.mkdir()
    for name in ('weights.bin', 'tokenizer.json'):
        (folder / name).write_text('{}')
    forward = Range(mean=0.2, std=0.2, min=-0.3, q01=-0.3, q99=0.45, max=0.45, count=100)
    envelope = Envelope('100 pictures', actions={'linear.x': forward})
    spec = replace(native_spec('trained'), envelope=envelope)
    language = IncludedLanguage('weights.bin', 64, 'tokenizer.json')
    write_manifest(folder, 'native', spec, language, training={})
    return folder


def status_of(rig: Bench, name: str) -> DiagnosticStatus:
    return next(one for one in rig.diagnostics[-1].status if one.name == f'one/vla/{name}')


@pytest.mark.parametrize(
    ('wanted', 'level'),
    [
        ('none', None),
        ('slow', StopRequest.SLOW),
        ('hold', StopRequest.HOLD),
        ('controlled_stop', StopRequest.CONTROLLED_STOP),
    ],
)
def test_action_outside_of_the_training_is_told_and_asks_for_what_the_parameter_says(
    bench: Callable[..., Bench], trained: Path, wanted: str, level: int | None
) -> None:
    rig = bench(checkpoint=str(trained), on_outside=wanted, silence=60.0)
    sha = load_manifest(trained).spec.model_sha256
    rig.beat()
    for _ in range(30):
        rig.frame(model_sha256=sha)
    assert rig.until(lambda: bool(rig.diagnostics))
    assert status_of(rig, 'envelope').level == DiagnosticStatus.OK
    assert status_of(rig, 'envelope').message.startswith('trained: 100 pictures')
    assert not rig.requests
    fast = [0.9, 0.0, 0.0, 0.0, 0.0, 0.1, 1.0] * 8
    text = 'envelope.actions.linear.x is 0.9, limit 0.55'

    def told() -> bool:
        rig.frame(model_sha256=sha, data=fast)
        return bool(rig.reports) and any(text in alarm for alarm in rig.reports[-1].alarms)

    assert rig.until(told)
    assert rig.reports[-1].level == HealthReport.LEVEL_WARN
    assert rig.until(lambda: text in status_of(rig, 'envelope').message)
    assert status_of(rig, 'envelope').level == DiagnosticStatus.WARN
    assert {request.level for request in rig.requests} == ({level} - {None})
    assert all(text in request.reason for request in rig.requests)


def test_observation_outside_of_the_training_is_told_and_asks_too(
    bench: Callable[..., Bench],
) -> None:
    rig = bench(on_outside='slow', silence=60.0)
    rig.beat(warning='envelope.images.front.luminance is 0.05')

    def asked() -> bool:
        rig.frame()
        return bool(rig.requests)

    assert rig.until(asked)
    assert rig.requests[0].level == StopRequest.SLOW
    report = rig.report(lambda report: any('luminance' in text for text in report.alarms))
    assert 'policy: envelope.images.front.luminance is 0.05' in report.alarms


def test_checkpoint_without_an_envelope_is_a_diagnostic_and_no_error(
    bench: Callable[..., Bench],
) -> None:
    rig = bench(checkpoint='hold', on_outside='controlled_stop', silence=60.0)
    rig.beat()
    for _ in range(30):
        rig.frame(data=[1.0] * 56)
    assert rig.until(lambda: bool(rig.diagnostics))
    status = status_of(rig, 'envelope')
    assert status.level == DiagnosticStatus.OK
    assert status.message == 'hold has no training envelope (vla-learn envelope adds one)'
    assert not rig.requests


def test_told_to_ask_nothing_it_only_reports(bench: Callable[..., Bench]) -> None:
    rig = bench(warm_up=0, on_over_limit='none')
    for _ in range(10):
        rig.frame(inference_seconds=0.9)
    report = rig.report(lambda report: any('expected at most' in text for text in report.alarms))
    assert report.level == HealthReport.LEVEL_ERROR
    assert not rig.requests


@pytest.mark.parametrize(
    'changes',
    [
        {'data': [math.nan] * 56},
        {'data': [math.inf] * 56},
        {'data': [0.0] * 3},
        {'data': []},
        {'horizon': 0},
        {'horizon': 65_535},
        {'names': ['linear.x'] * 7},
        {'names': [], 'units': []},
        {'status': 99},
        {'representation': 99},
        {'step_dt': 0.0},
        {'step_dt': 5e-324},
        {'step_dt': math.nan},
        {'inference_seconds': math.nan},
        {'inference_seconds': 1e308},
    ],
)
def test_malformed_chunks_are_anomalies(
    bench: Callable[..., Bench], changes: dict[str, Any]
) -> None:
    rig = bench()
    rig.frame(**changes)
    assert rig.report(lambda report: report.anomalies > 0).anomalies == 1
    assert rig.beats[-1].errors_total == 0, 'a fault of the policy, not of the monitor'


def test_a_stamp_of_another_clock_is_named(bench: Callable[..., Bench]) -> None:
    rig = bench()
    rig.info.publish(CameraInfo())
    report = rig.report(lambda report: any('a stamp is wrong' in text for text in report.alarms))
    assert report.hops[0].count == 0


def test_nonsense_from_every_side_is_survived(bench: Callable[..., Bench]) -> None:
    rig = bench()
    for index in range(100):
        rig.heartbeat.publish(
            Heartbeat(node=f'stranger {index}' * 50, state=255, detail='x' * 5000)
        )
        rig.decision.publish(Decision(observation_stamp=to_time(index + 1)))
        rig.instruction.publish(Instruction(status=255, text='x' * 5000))
        rig.info.publish(CameraInfo())
        rig.spin(0.0)
    rig.frame()
    report = rig.report(lambda report: report.inference_count == 1)
    assert len(report.nodes) <= 32
    assert max(len(node.name) for node in report.nodes) <= 64
    assert rig.until(lambda: bool(rig.beats))
    assert rig.beats[-1].errors_total == 0


def test_the_shipped_parameters_are_all_of_them_and_allowed() -> None:
    share = Path(get_package_share_directory('vla_bringup'))
    values = load_yaml(share / 'config/monitor.yaml')['/**/monitor']['ros__parameters']
    config = build(MonitorConfig, values | {'robot': 'sim'}, 'monitor.yaml')
    assert set(vars(config)) == {*values, 'robot', 'checkpoint'}
    assert config == MonitorConfig(robot='sim'), 'defaults and shipped values differ'


@pytest.mark.parametrize(
    ('parameters', 'complaint'),
    [
        ({'on_slow': 'estop'}, 'parameter on_slow is .estop.: expected one of none'),
        ({'z_score': math.nan}, 'parameter z_score is nan'),
        ({'on_outside': 'stop'}, 'parameter on_outside is .stop.: expected one of none, slow'),
        ({'envelope_margin': -0.5}, 'parameter envelope_margin is -0.5'),
        ({'checkpoint': 'nobody'}, 'checkpoint .nobody.: expected a path or one of'),
        ({'zscore': 3.0}, "unknown parameter 'zscore'"),
        ({'robot': 'turtlebot3', 'clock': 'lockstep', 'use_sim_time': True}, 'expected steady'),
    ],
)
def test_a_wrong_start_is_refused_with_a_reason(
    bench: Callable[..., Bench], parameters: dict[str, Any], complaint: str
) -> None:
    rig = bench()
    values = {'robot': 'sim'} | parameters
    overrides = [Parameter(name, value=value) for name, value in values.items()]
    with pytest.raises(ConfigError, match=complaint):
        MonitorNode(context=rig.peer.context, parameter_overrides=overrides)


def test_error_that_no_guard_has_seen_is_counted(bench: Callable[..., Bench]) -> None:
    rig = bench()
    rig.monitor.failed(ValueError('cannot take'))
    assert rig.until(lambda: bool(rig.beats) and rig.beats[-1].errors_total == 1)
