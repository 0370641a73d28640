"""`vla bag audit`: did the commands of a recorded drive keep to the robot's limits?"""

from __future__ import annotations

from collections.abc import Iterator
import math

from rclpy.serialization import deserialize_message

from vla_core.commanded import Audit, audit, Commanded, LONGEST_LEAD
from vla_core.gate.causes import Cause, State
from vla_core.gate.limits import Limits
from vla_core.robot import load_robot
from vla_interfaces.msg import Decision
from vla_replay.bag.reader import BagReader
from vla_replay.bag.types import require_installed
from vla_replay.bag_options import AuditBag
from vla_replay.errors import BagError
from vla_ros.conversion import to_ns, twist_from_msg
from vla_ros.files import robot_path

_DECISION = 'vla_interfaces/msg/Decision'


def audit_bag(options: AuditBag) -> Audit:
    """Hold every decision of a bag against the robot file.

    Raises:
        BagError: if the bag cannot be read, has no decision, or one that is none of this gate's.
        ConfigError: if there is no such robot file, or it is wrong.
    """
    limits = Limits.of(load_robot(robot_path(options.robot)))
    with BagReader(options.bag) as bag:
        require_installed(bag.topic(options.topic, _DECISION))
        found = audit(_steps(bag, options.topic), limits)
    if not found.commands:
        raise BagError(f'{options.bag}: no decision on {options.topic}')
    return found


def _steps(bag: BagReader, topic: str) -> Iterator[Commanded]:
    for message in bag.messages({topic}):
        try:
            msg = deserialize_message(message.data, Decision)
            state, cause = State(msg.state), Cause(msg.cause)
            if not 0.0 <= msg.dt < math.inf:
                raise ValueError(f'dt {msg.dt}: expected finite, >= 0')
        except Exception as error:  # rclpy's C code raises what it likes
            raise BagError(f'{bag.path}: {topic}: {error}') from None
        # In lock-step a tick may be told twice: no time passes, so that the command is the same,
        # or zero at once, which the next tick repeats.
        if not msg.repeated:
            chunk = (msg.policy_run, msg.sequence) if msg.step_index >= 0 else None
            published = twist_from_msg(msg.published)
            stamp = to_ns(msg.header.stamp) * 1e-9
            yield Commanded(msg.tick, stamp, msg.dt, state, cause, chunk, published)


def describe(found: Audit, robot: str) -> str:
    """Return what a person wants to know of it."""
    lines = [
        f'{found.commands} commands in {found.seconds:.0f} s, {found.boundaries} ends of chunks',
        f'beyond a speed limit of {robot}, or not finite: {found.too_fast}',
        f'beyond acceleration × dt: {found.too_sudden}, of them at ends of chunks: '
        f'{found.at_boundaries}',
        f'other than zero where nothing may move: {found.not_zero}',
    ]
    if found.lead >= LONGEST_LEAD:
        lines.append(
            f'dt runs ahead of the stamps by up to {found.lead:.2f} s: expected less than '
            f'{LONGEST_LEAD} s; by their clock the robot accelerates faster than dt says'
        )
    if found.stops:
        causes = ', '.join(f'{cause.name} {count}' for cause, count in found.stops.most_common())
        lines.append(f'zero at once, on purpose: {causes}')
    if found.gaps > 1:
        lines.append(f'not judged, for the step before is not in the bag: {found.gaps}')
    return '\n'.join(lines)
