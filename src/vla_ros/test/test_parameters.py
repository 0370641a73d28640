"""Dataclass fields become read-only ROS parameters; what nobody declared refuses to start."""

from dataclasses import dataclass
import math

import pytest
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos_overriding_options import QoSOverridingOptions
from std_msgs.msg import String

from vla_core.errors import ConfigError
from vla_core.parameters import parameter
from vla_ros.clock import ProcessClock
from vla_ros.parameters import check_overrides, declare


@dataclass(frozen=True, kw_only=True)
class Example:
    """One field of each kind."""

    rate: float = parameter(default=30.0, unit='Hz', low=1.0, high=60.0, doc='Rate')
    count: int = parameter(default=2, low=1, high=4, doc='Count')
    name: str = parameter(doc='Name')


def _node(context, **overrides):
    return Node(
        'example',
        context=context,
        parameter_overrides=[Parameter(name, value=value) for name, value in overrides.items()],
    )


def test_values_come_from_the_overrides(context):
    """What YAML or the command line says is what the node gets, typed."""
    node = _node(context, name='x', rate=15.0)
    config = declare(node, Example)
    assert config == Example(rate=15.0, count=2, name='x')
    descriptor = node.describe_parameter('rate')
    assert descriptor.read_only
    assert descriptor.floating_point_range[0].to_value == 60.0
    assert 'Hz' in descriptor.description
    node.destroy_node()


@pytest.mark.parametrize(
    ('overrides', 'message'),
    [
        ({}, 'name is missing'),
        ({'name': 'x', 'rat': 3.0}, "unknown parameter 'rat'"),
        ({'name': 'x', 'use_sim_times': True}, "unknown parameter 'use_sim_times'"),
        (
            {'name': 'x', 'start_type_description_serviceX': 3},
            "unknown parameter 'start_type_description_serviceX'",
        ),
        ({'name': 'x', 'rate': 0.0}, r'rate is 0.0: expected a finite float in \[1, 60\] Hz'),
        ({'name': 'x', 'rate': math.nan}, 'rate is nan'),
        ({'name': 'x', 'rate': 15}, 'decimal point'),
        ({'name': 'x', 'count': 9}, r'count is 9: expected an integer in \[1, 4\]'),
    ],
)
def test_bad_override_refuses_to_start(context, overrides, message):
    """The error names node, parameter, value and what is allowed."""
    node = _node(context, **overrides)
    with pytest.raises(ConfigError, match=message) as caught:
        declare(node, Example)
    assert str(caught.value).startswith('/example: ')
    node.destroy_node()


def test_a_section_for_all_may_override_the_topics_of_others(context):
    """A gate hears no pictures, and is given what the camera is given."""
    node = _node(context, name='x', **{'qos_overrides./camera.subscription.depth': 3})
    declare(node, Example)
    check_overrides(node)
    node.destroy_node()


@pytest.mark.parametrize('wrong', ['', '/txet.subscription.depth', '/text.subscription.deph'])
def test_an_override_of_no_subscription_is_refused(context, wrong):
    """What ROS itself reads is let through, once a subscription has declared it."""
    given = {'qos_overrides./text.subscription.depth': 3, 'use_sim_time': False, 'name': 'x'}
    node = _node(context, **given, **({f'qos_overrides.{wrong}': 3} if wrong else {}))
    declare(node, Example)
    node.create_subscription(
        String,
        'text',
        print,
        5,
        qos_overriding_options=QoSOverridingOptions.with_default_policies(),
    )
    if wrong:
        with pytest.raises(ConfigError, match=rf'/example: .*{wrong}.* is 3: .*/text.sub.*depth'):
            check_overrides(node)
    else:
        check_overrides(node)
    node.destroy_node()


def test_declared_parameters_cannot_be_changed(context):
    """A limit that was read once stays what it is."""
    node = _node(context, name='x')
    declare(node, Example)
    result = node.set_parameters([Parameter('rate', value=50.0)])[0]
    assert not result.successful
    assert node.get_parameter('rate').value == 30.0
    node.destroy_node()


def test_lockstep_needs_simulated_time(context):
    """A real robot's clock cannot be stepped."""
    node = _node(context)
    with pytest.raises(ConfigError, match='use_sim_time'):
        ProcessClock(node, 'lockstep')
    with pytest.raises(ConfigError, match='expected one of'):
        ProcessClock(node, 'sundial')
    node.destroy_node()
