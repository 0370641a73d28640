"""The policy is killed or frozen in mid-drive, again and again, and a person arms each time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
import time

from nav_msgs.msg import Odometry

from vla_cli.bench.braking import Braking, braking
from vla_cli.bench.driving import drive
from vla_cli.bench.load import class_of
from vla_cli.bench.pauses import Pauses
from vla_cli.bench.report import Row
from vla_cli.faults.processes import frozen, killed
from vla_cli.graph import GraphError
from vla_cli.live import live_graph, LiveGraph
from vla_core.gate.causes import State
from vla_core.robot import load_robot
from vla_ros import qos
from vla_ros.conversion import twist_from_msg
from vla_ros.files import robot_path

#: s, docs/reference/safety.md: HEARTBEAT_LATE at 0.20, and what messages and steps take.
REACTION = 0.30
#: s that is listened after a fault; a frozen policy goes on after `_FROZEN`.
_WINDOW = 1.5
_FROZEN = 1.2
#: s in which a policy that wants to move must not move an unarmed robot.
_TEMPTATION = 0.5
_BREAKS = {'kill': killed, 'freeze': frozen}


@dataclass(frozen=True)
class Trial:
    """One fault.

    Attributes:
        speed: m/s before it.
        braking: what the robot did.
        pauses: s, of the machine, meanwhile.
        moved: commands other than zero between standing still and arming; None: it never came to
            that.
        tempted: whether the policy wanted to move the robot meanwhile.
    """

    speed: float
    braking: Braking
    pauses: list[float]
    moved: int | None = None
    tempted: bool = False

    @property
    def excused(self) -> bool:
        """Whether pauses of the machine, and nothing else, made the answer late."""
        lost = sum(self.pauses)
        in_time = self.braking.start - lost <= REACTION
        return lost > 0.0 and in_time and self.braking.zero - lost <= zero_limit(self.speed)


def policy_faults(name: str, kind: str, policy: str, count: int, folder: Path) -> list[Row]:
    """Break a policy again and again.

    Args:
        name: what the rows' names begin with.
        kind: `kill` (SIGKILL) or `freeze` (SIGSTOP for 1.2 s).
        policy: checkpoint or built-in policy; it must understand "move forward".
        count: of faults.
        folder: for what the graph says.

    Raises:
        GraphError: if the graph does not even come to its first fault.
    """
    arguments = {'robot': 'sim', 'policy': policy, 'policy_respawns': '-1'}
    trials: list[Trial] = []
    notes: dict[str, object] = {'policy': policy}
    ended = ''
    with Pauses() as pauses, live_graph(folder / f'{name}.log', arguments) as live:
        live.until_active()
        scheduling = class_of(live.process('gate').pid)
        odometer = Odometer(live)
        try:
            while len(trials) < count:
                found, still = broken(live, odometer, pauses, kind)
                # Whatever comes of it: the answer to this fault counts.
                trials.append(found)
                trials[-1] = rested(live, found, still)
        except GraphError as error:
            if not trials:
                raise
            ended = str(error)
    return rows(name, trials, count, notes | ({'ended early': ended} if ended else {}), scheduling)


def zero_limit(speed: float) -> float:
    """Return s from a fault to zero at which a promise is just kept; from m/s."""
    return round(REACTION + speed / load_robot(robot_path('sim')).axes[0].max_decel, 3)


class Odometer:
    """Where the robot was, since `places` was cleared."""

    def __init__(self, live: LiveGraph) -> None:
        """Listen to odom."""
        self.places: list[tuple[float, float, float]] = []
        live.node.create_subscription(Odometry, 'odom', self._hear, qos.ODOM)

    def _hear(self, msg: Odometry) -> None:
        position = msg.pose.pose.position
        self.places.append((time.monotonic(), position.x, position.y))


def broken(live: LiveGraph, odometer: Odometer, pauses: Pauses, kind: str) -> tuple[Trial, float]:
    """Drive, break the policy, watch the robot; return when it stood, too.

    Raises:
        GraphError: if the robot does not drive.
    """
    speed = drive(live)
    policy = live.process('policy')
    live.forget()
    odometer.places.clear()
    live.until(lambda: bool(odometer.places), 'odom')
    fault = time.monotonic()
    with _BREAKS[kind](policy):
        live.spin(_FROZEN)
    live.spin(_WINDOW - _FROZEN)
    end = time.monotonic()
    commands = [(at, twist.linear.x) for at, twist in live.twists]
    found = braking(commands, odometer.places, fault, speed, end)
    still = fault + found.zero
    return Trial(speed, found, pauses.between(fault, still)), still


def rested(live: LiveGraph, found: Trial, still: float) -> Trial:
    """Let the policy come back and want to move; see whether the robot does.

    Raises:
        GraphError: if the gate does not stop the robot, or the policy does not come back.
    """
    live.until(lambda: live.decision.state == State.STOPPED, 'gate STOPPED')
    live.until(lambda: bool(live.state.ready_to_arm), 'the policy is back')
    live.say('move forward')
    live.spin(_TEMPTATION)
    return replace(
        found,
        moved=sum(any(twist_from_msg(twist)) for at, twist in live.twists if at > still),
        tempted=any(any(twist_from_msg(decision.wanted)) for decision in live.decisions[-10:]),
    )


def rows(
    name: str, trials: list[Trial], count: int, notes: dict[str, object], scheduling: str
) -> list[Row]:
    """Return the rows of many trials; those that a pause of the machine explains are apart.

    Args:
        name: what the rows' names begin with.
        trials: at least one.
        count: of trials that were asked for.
        notes: circumstances.
        scheduling: class of the gate.
    """
    good = [one for one in trials if not one.excused]
    bad = [one for one in trials if one.excused]
    moved = [float(one.moved) for one in trials if one.moved is not None]
    fastest = max(one.speed for one in trials)
    notes = {
        **notes,
        'm/s before': round(fastest, 2),
        'robot went on': sum(not one.braking.complete for one in trials),
        'faults missing': count - len(moved),
    }
    complete = {'robot went on': 0, 'faults missing': 0}
    longest = max((pause for one in bad for pause in one.pauses), default=None)
    if longest is not None:
        notes['longest pause of the machine, s'] = round(longest, 2)
    reached = {'p99': REACTION, 'max': REACTION}
    zero = zero_limit(fastest)
    figures = (
        ('to_deceleration', 's', lambda one: one.braking.start, reached | complete),
        ('to_zero', 's', lambda one: one.braking.zero, {'max': zero}),
        ('stop_distance', 'm', lambda one: one.braking.distance, {}),
    )
    tempted = {'wanted to move': f'{sum(one.tempted for one in trials)} of {len(moved)}'}
    return [
        *(
            Row(
                f'{name}_{what}',
                unit,
                [figure(one) for one in good],
                notes=notes,
                limits=limits,
                paused=[figure(one) for one in bad],
                scheduling=scheduling,
            )
            for what, unit, figure, limits in figures
        ),
        Row(
            f'{name}_moved_unarmed',
            'commands',
            moved,
            notes={**notes, **tempted},
            limits={'max': 0.0, 'faults missing': 0},
            scheduling=scheduling,
        ),
    ]
