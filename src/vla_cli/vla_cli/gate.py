"""`vla arm|disarm|stop|reset|estop`: what an operator asks of the gate."""

from __future__ import annotations

import sys
import time

from std_msgs.msg import String

from vla_cli.connection import connect, Connection, SeveralRobotsError
from vla_cli.telling import tell
from vla_core.gate.causes import State
from vla_core.text import name_of, printable
from vla_interfaces.msg import Decision, SafetyState
from vla_ros import qos

SERVICES = {
    'arm': 'safety/arm',
    'disarm': 'safety/disarm',
    'reset': 'safety/reset',
    'estop': 'safety/trigger_estop',
}
#: Name of its node.
GATE = 'gate'
# These stop the robot: they act first, on whoever is there.
_STOPPING = ('disarm', 'estop')
# The gate's ramp from ARMING to ACTIVE takes 1 s.
ARMED_TIMEOUT = 3.0
# A stop from full speed, with room, s.
STILL_TIMEOUT = 5.0
# Zero must have been published for this long to count as still, s.
STILL_FOR = 0.3
# How long the gate, which has been heard, may take to be found among those who hear texts, s.
HEARING_TIMEOUT = 1.0


def ask(request: str, namespace: str) -> int:
    """Ask the gate for `request`, a key of SERVICES; return the exit status.

    Raises:
        SeveralRobotsError: there are several gates; all have been asked for a stop, else none.
    """
    with connect(namespace) as connection:
        accepted, message = connection.call(SERVICES[request], everyone=request in _STOPPING)
        if not accepted:
            print(f'{request} refused:', file=sys.stderr)
            for blocker in message.split('; '):
                print(f'  - {printable(blocker)}', file=sys.stderr)
            return 1
        if request == 'arm':
            return _follow_arming(connection)
        print(printable(message))
        return 0


def stop(namespace: str) -> int:
    """Publish the word "stop" and wait until the gate commands zero; return the exit status.

    Raises:
        SeveralRobotsError: there are several gates; all have been told.
    """
    with connect(namespace) as connection:
        stillness = Stillness(connection)
        word = StopWord(connection)
        connection.find(stillness.heard, SERVICES['arm'], 'gate')
        word.wait()
        word.say()
        several = connection.several(SERVICES['arm'])
        if several:
            # A gate that was found only meanwhile has not heard the first word.
            word.say()
        status = report_still(stillness)
        if several:
            raise SeveralRobotsError(
                f'all were told, and one of several may not be still: {several}'
            )
        return status


def report_still(stillness: Stillness) -> int:
    """Wait for the robot to be still and say so; return the exit status."""
    if stillness.wait():
        tell('still')
        return 0
    does = 'has fallen silent' if stillness.silent() else 'still commands motion'
    tell(f'the gate {does} after {STILL_TIMEOUT} s; expected zero: `vla estop`', failed=True)
    return 1


class StopWord:
    """The word "stop", which the gate itself understands."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._texts = connection.node.create_publisher(String, 'command', qos.COMMAND)

    def wait(self) -> None:
        """Wait until the gate would hear the word, a while; then for anybody who would.

        A recorder or the policy may be found first, and the word is not said a second time.

        Raises:
            NoGraphError: nobody would.
        """
        if not self._connection.wait(self._gate_hears, HEARING_TIMEOUT):
            self._connection.find(self._heard, self._texts.topic_name, 'gate')

    def say(self) -> None:
        """Say it."""
        self._texts.publish(String(data='stop'))

    def _heard(self) -> bool:
        return self._texts.get_subscription_count() > 0

    def _gate_hears(self) -> bool:
        node = self._connection.node
        hearing = node.get_subscriptions_info_by_topic(self._texts.topic_name)
        # The graph knows of an endpoint a moment before the publisher is connected to it.
        connected = self._texts.get_subscription_count() >= len(hearing)
        return connected and any(one.node_name == GATE for one in hearing)


class Stillness:
    """Listens to what the gate publishes on cmd_vel."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._zero_since: float | None = None
        self._heard_at: float | None = None
        self._subscription = connection.node.create_subscription(
            Decision, 'safety/decision', self._on_decision, qos.DECISION
        )

    def heard(self) -> bool:
        """Return whether there is a gate at all."""
        return self._heard_at is not None

    def silent(self) -> bool:
        """Return whether it has said nothing for a while, or never anything."""
        return self._heard_at is None or time.monotonic() - self._heard_at >= STILL_FOR

    def wait(self) -> bool:
        """Wait until the gate has published zero for a while; return whether it did."""
        # Only what it publishes from now on counts.
        self._zero_since = None
        return self._connection.wait(self._still, STILL_TIMEOUT)

    def _still(self) -> bool:
        return self._zero_since is not None and time.monotonic() - self._zero_since >= STILL_FOR

    def _on_decision(self, decision: Decision) -> None:
        self._heard_at = time.monotonic()
        linear, angular = decision.published.linear, decision.published.angular
        if any((linear.x, linear.y, linear.z, angular.x, angular.y, angular.z)):
            self._zero_since = None
        elif self._zero_since is None:
            self._zero_since = time.monotonic()


def _follow_arming(connection: Connection) -> int:
    states: list[SafetyState] = []
    connection.node.create_subscription(SafetyState, 'safety/state', states.append, qos.STATE)

    def settled() -> bool:
        return bool(states) and states[-1].state != State.ARMING

    connection.wait(settled, ARMED_TIMEOUT)
    if states and states[-1].state in (State.ACTIVE, State.MANUAL):
        print('armed')
        return 0
    state = name_of(State, states[-1].state) if states else 'unknown'
    print(
        f'armed, but the gate is now {state}; expected ACTIVE (`vla top` says why)',
        file=sys.stderr,
    )
    return 1
