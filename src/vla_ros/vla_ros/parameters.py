"""Declare a configuration dataclass as read-only ROS parameters."""

import dataclasses
from typing import Any, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node

from vla_core.errors import ConfigError
from vla_core.parameters import allowed, build, kind_of, Meta, meta_of

ConfigT = TypeVar('ConfigT')
#: Parameters that rclpy itself declares or reads.
ROS_OWN = ('use_sim_time', 'start_type_description_service')
#: Begins those that every subscription with options of its own declares, by its topic.
QOS_OWN = 'qos_overrides.'


def declare(node: Node, cls: type[ConfigT]) -> ConfigT:
    """Declare every field of `cls` on `node`, read-only, and return the typed values.

    Args:
        node: the node; its parameter overrides (YAML, launch, command line) are the values.
        cls: frozen dataclass whose fields were made by `vla_core.parameters.parameter`.

    Raises:
        ConfigError: if an override is unknown, missing, of the wrong type or out of range.
    """
    # rclpy offers no public view of the overrides that nobody declared, and drops them silently.
    overrides = {
        name: given.value
        for name, given in node._parameter_overrides.items()
        if name not in ROS_OWN and not name.startswith(QOS_OWN)
    }
    where = node.get_fully_qualified_name()
    config = build(cls, overrides, where)
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        node.declare_parameter(field.name, getattr(config, field.name), _descriptor(field))
    return config


def check_overrides(node: Node) -> None:
    """Refuse an override that nobody has declared, now that the node's subscriptions are made.

    A node without any to override leaves them to the others for whom the same section is.

    Raises:
        ConfigError: if there is one: another topic's quality of service, or a misspelt policy.
    """
    prefix = QOS_OWN.rstrip('.')
    known = [QOS_OWN + rest for rest in sorted(node.get_parameters_by_prefix(prefix))]
    for name, given in node._parameter_overrides.items():
        if known and name.startswith(QOS_OWN) and name not in known:
            raise ConfigError(
                f'{node.get_fully_qualified_name()}: unknown parameter {name!r} is '
                f'{given.value!r}: expected one of {known}'
            )


def use_sim_time(node: Node) -> bool:
    """Say whether the node takes ROS time from /clock."""
    value: bool = node.get_parameter('use_sim_time').value
    return value


def check_clock(node: Node, clock: str) -> None:
    """Compare the `clock` parameter with `use_sim_time` (docs/explanation/way-of-a-frame.md).

    Raises:
        ConfigError: if lock-step is asked for without simulated time.
    """
    if clock == 'lockstep' and not use_sim_time(node):
        raise ConfigError(
            f'{node.get_fully_qualified_name()}: parameter clock is lockstep and use_sim_time is '
            'false: expected use_sim_time true, or clock steady'
        )


def _descriptor(field: 'dataclasses.Field[Any]') -> ParameterDescriptor:
    meta: Meta = meta_of(field)
    descriptor = ParameterDescriptor(description=f'{meta.doc} ({allowed(field)})', read_only=True)
    if meta.low is not None and meta.high is not None:
        if kind_of(field) is float:
            descriptor.floating_point_range = [
                FloatingPointRange(from_value=meta.low, to_value=meta.high, step=0.0)
            ]
        elif kind_of(field) is int:
            descriptor.integer_range = [
                IntegerRange(from_value=int(meta.low), to_value=int(meta.high), step=1)
            ]
    return descriptor
