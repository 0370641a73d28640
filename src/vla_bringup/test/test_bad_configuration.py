"""One bad YAML per rule: each node refuses to start, with parameter, value and what is allowed.

Every rule is tried on the declaration; of each kind of rule, one per node is tried on the node,
with a file that ROS itself reads. Robot files have their rules in test_robot.py.
"""

from collections.abc import Iterator
import dataclasses
import gc
from pathlib import Path
from typing import Any

import pytest
import rclpy
from rclpy.context import Context
import yaml

from vla_camera.camera_node import CameraNode
from vla_core.camera import CameraConfig
from vla_core.errors import ConfigError, VlaError
from vla_core.gate.config import GateConfig
from vla_core.graph_health import MonitorConfig
from vla_core.parameters import allowed, build, kind_of, meta_of
from vla_inference.config import PolicyConfig
from vla_inference.policy_node import PolicyNode
from vla_monitor.monitor_node import MonitorNode
from vla_replay.recorder_node import RecorderNode
from vla_replay.recording.config import RecorderConfig
from vla_ros.domains import own_domain
from vla_safety.gate_node import GateNode
from vla_sim.config import SimConfig
from vla_sim.sim_node import SimNode

COMMON = {'robot': 'sim'}
NODES: dict[str, tuple[type, type, dict[str, Any]]] = {
    'gate': (GateNode, GateConfig, COMMON),
    'monitor': (MonitorNode, MonitorConfig, COMMON),
    'camera': (CameraNode, CameraConfig, COMMON | {'checkpoint': 'hold'}),
    'policy': (PolicyNode, PolicyConfig, COMMON | {'checkpoint': 'hold'}),
    'recorder': (RecorderNode, RecorderConfig, {}),
    'sim': (SimNode, SimConfig, {}),
}

Case = tuple[str, dict[str, Any], tuple[str, ...]]


def declared() -> Iterator[Case]:
    """One bad value per rule that a field declares: node, values, what the message must say."""
    for node, (_, config, good) in NODES.items():
        for field in dataclasses.fields(config):
            meta, kind, says = meta_of(field), kind_of(field), allowed(field)
            bad: list[Any] = [True if kind is not bool else 'yes']
            if kind is float:
                bad += [float('nan'), float('inf'), 1]
            if kind in (int, float):
                bad += [kind(meta.low - 1)] if meta.low is not None else []
                bad += [kind(meta.high + 1)] if meta.high is not None else []
            if meta.choices:
                bad.append('something else')
            for value in bad:
                yield node, good | {field.name: value}, (field.name, repr(value), says)
        yield node, good | {'nobody_declares_this': 1.0}, ("unknown parameter 'nobody_declares",)
        for name in good:
            rest = {key: value for key, value in good.items() if key != name}
            yield node, rest, (f'parameter {name} is missing', 'expected a str')


RULES: tuple[Case, ...] = (
    *(
        (node, good | {'robot': 'nobody'}, ("robot 'nobody'", 'turtlebot3'))
        for node, (_, _, good) in NODES.items()
        if 'robot' in good
    ),
    *(
        (
            node,
            good | {'robot': 'turtlebot3', 'clock': 'lockstep', 'use_sim_time': True},
            ('clock is lockstep', 'turtlebot3 is real', 'expected steady'),
        )
        for node, (_, _, good) in NODES.items()
        if 'robot' in good
    ),
    *(
        (node, good | {'clock': 'lockstep'}, ('clock is lockstep', 'use_sim_time true'))
        for node, (_, _, good) in NODES.items()
        if 'robot' in good
    ),
    ('camera', COMMON | {'checkpoint': 'nothing'}, ("checkpoint 'nothing'", 'demo')),
    ('camera', COMMON | {'checkpoint': 'hold', 'slot': 'rear'}, ("slot 'rear'", "['front']")),
    ('policy', COMMON | {'checkpoint': 'nothing'}, ("'nothing'", 'demo')),
    (
        'policy',
        COMMON | {'checkpoint': 'hold', 'ablate_language': True},
        ('ablate_language', 'lockstep'),
    ),
    ('recorder', {'folder': '/dev/null/bags'}, ('/dev/null/bags', 'expected one for bags')),
    ('sim', {'use_sim_time': True}, ('use_sim_time is true', 'expected false')),
)
DECLARED = tuple(declared())


def one_of_each_kind() -> tuple[Case, ...]:
    """The first case per node of: wrong type, NaN, out of range, unknown key, missing."""
    kinds: dict[tuple[object, ...], Case] = {}
    for case in DECLARED:
        node, values, says = case
        value = values.get(says[0])
        kinds.setdefault((node, type(value), value != value, len(says)), case)
    return tuple(kinds.values())


CASES = (*one_of_each_kind(), *RULES)


def ids(case: Case) -> str:
    node, _, says = case
    return f'{node} {says[0]} {says[1] if len(says) > 1 else ""}'[:70]


@pytest.fixture(scope='module')
def domain() -> Iterator[int]:
    with own_domain() as domain:
        yield domain


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """End the node of a test for good before the next one is made.

    One that is refused lies in a cycle with its error, and an action server keeps its participant.
    The next test must not find them, half made and under a good node's name; and two participants
    of one process can wait for each other for ever where one ends while the other announces itself
    (Fast DDS 2.14).
    """
    yield
    gc.collect()


def start(node: str, values: dict[str, Any], folder: Path, domain: int) -> str:
    """Start a node with a YAML file; return why it refused, and what it published before."""
    make, _, _ = NODES[node]
    path = folder / f'{node}.yaml'
    path.write_text(yaml.safe_dump({f'/**/{node}': {'ros__parameters': values}}))
    context = Context()
    rclpy.init(args=['--ros-args', '--params-file', str(path)], context=context, domain_id=domain)
    try:
        made = make(context=context)
        getattr(made, 'start', lambda: None)()
    except VlaError as error:
        return str(error)
    else:
        getattr(made, 'close', lambda: None)()
        made.destroy_node()
        return ''
    finally:
        rclpy.try_shutdown(context=context)


@pytest.mark.parametrize('case', CASES, ids=ids)
def test_a_bad_file_is_refused_with_parameter_value_and_what_is_allowed(case, tmp_path, domain):
    node, values, says = case
    reason = start(node, values, tmp_path, domain)
    for part in says:
        assert part in reason


@pytest.mark.parametrize('node', NODES)
def test_every_rule_of_every_parameter_is_refused_by_its_declaration(node):
    config = NODES[node][1]
    cases = [(values, says) for name, values, says in DECLARED if name == node]
    assert {field.name for field in dataclasses.fields(config)} <= {says[0] for _, says in cases}
    for values, says in cases:
        with pytest.raises(ConfigError) as caught:
            build(config, values, 'file.yaml')
        assert [part for part in ('file.yaml', *says) if part not in str(caught.value)] == []


@pytest.mark.parametrize('node', ['gate', 'monitor', 'camera', 'policy'])
def test_the_values_that_are_spoiled_here_are_good_ones(node, tmp_path, domain):
    assert start(node, NODES[node][2], tmp_path, domain) == ''
