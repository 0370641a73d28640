"""A short-lived ROS node of the `vla` command: finds the graph, waits, minds signals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
import os
import signal
import time
from typing import Any

import rclpy
from rclpy.exceptions import InvalidNamespaceException
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions
from rclpy.validate_namespace import validate_namespace
from std_srvs.srv import Trigger

from vla_core.errors import ConfigError, VlaError
from vla_ros.in_turn import in_turn_executor

# How long a graph that is running may take to be discovered, s.
DISCOVERY = 4.0
# How long a service of the gate may take to answer, s.
ANSWER = 4.0
# How long further robots may take to be discovered once the first one is, s.
SETTLING = 0.3
# How long a process that was killed is still counted (config/fastdds.xml), and a little more, s.
LEASE = 3.5
#: What follows the name of an action in that of the service by which it takes goals.
SEND_GOAL = '/_action/send_goal'
_SLICE = 0.05
# Of ROS: 233 would need ports that there are not.
_LAST_DOMAIN = 232
# Ctrl-C, `kill` or `timeout`, and a terminal that was closed or lost.
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class NoGraphError(VlaError):
    """Nobody is there who could do what was asked."""


class SeveralRobotsError(VlaError):
    """More than one robot would do what was meant for one."""


class Interrupted(KeyboardInterrupt):
    """A signal of _ENDING while waiting; who does not mind it is ended like any other program."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        #: What a shell reports of a command that the signal ended.
        self.status = 128 + number


class Connection:
    """A node in the robot's namespace, spun only while something is waited for."""

    def __init__(self, node: Node, executor: SingleThreadedExecutor) -> None:
        self.node = node
        self._executor = executor
        self._signal: int | None = None
        self._interrupted = False

    def interrupt(self, number: int) -> None:
        """Note a signal; the wait in progress, or the next one, raises it.

        `timeout` and lost terminals send theirs twice; only who presses Ctrl-C again means it.
        """
        if number == signal.SIGINT or not self._interrupted:
            self._signal = number
        self._interrupted = True

    def wait(self, condition: Callable[[], bool], timeout: float = float('inf')) -> bool:
        """Spin until `condition` holds; return whether it did within `timeout` s.

        Raises:
            Interrupted: a signal came that ends programs.
        """
        deadline = time.monotonic() + timeout
        while not condition():
            if self._signal is not None:
                number, self._signal = self._signal, None
                raise Interrupted(number)
            if time.monotonic() > deadline:
                return False
            self._executor.spin_once(timeout_sec=_SLICE)
        return True

    def find(self, ready: Callable[[], bool], what: str, who: str) -> None:
        """Wait until somebody offers what is needed.

        Args:
            ready: whether it is there.
            what: the name that is looked for.
            who: the node that offers it.

        Raises:
            NoGraphError: nobody does within DISCOVERY s; the message says what to check.
        """
        if self.wait(ready, DISCOVERY):
            return
        name = self.node.resolve_service_name(what)
        raise NoGraphError(
            f'no {who}: nobody offers {name} in ROS domain {_domain()}; expected a running robot '
            '(vla_up robot.launch.xml) with the same --namespace and ROS_DOMAIN_ID'
        )

    def several(self, *services: str) -> str:
        """Wait SETTLING s; say which service several robots offer, empty: there is none such.

        One that was killed and started anew counts twice until its LEASE is over.
        """
        count = self.node.count_services
        self.wait(lambda: False, SETTLING)
        self.wait(lambda: all(count(service) <= 1 for service in services), LEASE)
        for service in services:
            if (found := count(service)) > 1:
                name = self.node.resolve_service_name(service).removesuffix(SEND_GOAL)
                return (
                    f'{found} robots offer {name} in ROS domain {_domain()}; expected one: choose '
                    'it by ROS_DOMAIN_ID or --namespace, or keep to this computer with '
                    'ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST'
                )
        return ''

    def call(self, service: str, everyone: bool = False) -> tuple[bool, str]:
        """Call a Trigger service of the gate; return whether it accepted, and what it said.

        Args:
            service: its name; a request reaches whoever offers it.
            everyone: ask at once, whoever is there; else only where a single gate is.

        Raises:
            NoGraphError: there is no gate, or it does not answer.
            SeveralRobotsError: there are several gates; with `everyone` they have been asked.
        """
        client = self.node.create_client(Trigger, service)
        self.find(client.service_is_ready, service, 'gate')
        if not everyone and (several := self.several(service)):
            raise SeveralRobotsError(several)
        answer = self._ask(client)
        if everyone and (several := self.several(service)):
            # A gate that was found only meanwhile has not heard the first request.
            self._ask(client)
            raise SeveralRobotsError(
                f'all were asked, one answer of several was heard ({answer.message}): {several}'
            )
        return answer.success, answer.message

    def _ask(self, client: Any) -> Any:
        future = client.call_async(Trigger.Request())
        if not self.wait(future.done, ANSWER):
            raise NoGraphError(f'the gate does not answer {client.srv_name} within {ANSWER} s')
        return future.result()


def _domain() -> str:
    """Return the ROS domain.

    Raises:
        ConfigError: there is no such domain.
    """
    domain = os.environ.get('ROS_DOMAIN_ID') or '0'
    try:
        # As rcl reads it: 0x5 is a number, and a digit of another script is none.
        known = domain.isascii() and 0 <= int(domain, 0) <= _LAST_DOMAIN
    except ValueError:
        known = False
    if not known:
        raise ConfigError(
            f'ROS_DOMAIN_ID is {domain!r}: expected a whole number from 0 to {_LAST_DOMAIN}'
        )
    return domain


def valid_namespace(namespace: str) -> str:
    """Return a namespace with its leading slash.

    Raises:
        ConfigError: `namespace` is no valid name.
    """
    full = f'/{namespace.strip("/")}'
    try:
        validate_namespace(full)
    # TypeError: bytes that are no UTF-8.
    except (InvalidNamespaceException, TypeError) as error:
        raise ConfigError(
            f'namespace {namespace!r} is invalid; expected letters, digits and _, parted by /'
        ) from error
    return full


@contextmanager
def connect(namespace: str) -> Iterator[Connection]:
    """Open a connection in `namespace`, with signals that end programs noted rather than raised.

    Raises:
        ConfigError: `namespace` is no valid name, or ROS_DOMAIN_ID no domain.
    """
    namespace = valid_namespace(namespace)
    _domain()
    context = rclpy.Context()
    # rclpy's handlers would end the context at Ctrl-C, before a last "stop" could leave.
    rclpy.init(context=context, args=[], signal_handler_options=SignalHandlerOptions.NO)
    # Without services of its own, whose names no security policy could list.
    node = rclpy.create_node(
        f'vla_cli_{os.getpid()}',
        namespace=namespace,
        context=context,
        start_parameter_services=False,
        parameter_overrides=[Parameter('start_type_description_service', value=False)],
    )
    executor = in_turn_executor(context)
    executor.add_node(node)
    connection = Connection(node, executor)
    previous = {
        number: signal.signal(number, lambda caught, _: connection.interrupt(caught))
        for number in _ENDING
        # nohup: the terminal may be closed.
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN
    }
    try:
        yield connection
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown(context=context)
