"""Ask every node of the graph for its parameters, once."""

from array import array
from collections.abc import Callable
from typing import Any

from rcl_interfaces.srv import GetParameters, ListParameters
from rclpy._rclpy_pybind11 import RCLError
from rclpy.client import Client
from rclpy.node import Node
from rclpy.parameter import parameter_value_to_python
import yaml


class Asking:
    """Hands over the parameters of each node as a file that ROS 2 reads."""

    def __init__(self, node: Node, take: Callable[[str, bytes], None]) -> None:
        """Ask nobody yet.

        Args:
            node: that asks.
            take: gets `parameters/<node>.yaml` and its content.
        """
        self._node, self._take = node, take
        self._asked: set[str] = set()

    def look(self) -> None:
        """Ask the nodes that are new, as soon as they can answer."""
        found = {
            f'{namespace.rstrip("/")}/{name}'
            for name, namespace in self._node.get_node_names_and_namespaces()
        }
        # Who went and comes again is asked again.
        self._asked &= found
        offered = {name for name, _ in self._node.get_service_names_and_types()}
        for name in found - self._asked:
            if f'{name}/list_parameters' in offered:
                self._asked.add(name)
                self._ask(
                    ListParameters,
                    f'{name}/list_parameters',
                    ListParameters.Request(),
                    lambda answer, name=name: self._listed(name, answer.result.names),
                )

    def _listed(self, name: str, parameters: list[str]) -> None:
        self._ask(
            GetParameters,
            f'{name}/get_parameters',
            GetParameters.Request(names=parameters),
            lambda answer: self._told(name, parameters, answer.values),
        )

    def _told(self, name: str, parameters: list[str], values: list[Any]) -> None:
        content = {
            key: _plain(parameter_value_to_python(value))
            for key, value in zip(parameters, values, strict=False)
        }
        text = yaml.safe_dump({name: {'ros__parameters': content}}, allow_unicode=True)
        self._take(f'parameters{name}.yaml', text.encode())

    def _ask(self, kind: type, service: str, request: Any, take: Callable[[Any], None]) -> None:
        try:
            client: Client = self._node.create_client(kind, service)
        except RCLError as error:  # among others, the permissions of a secured graph
            self._node.get_logger().warning(f'{service} is not asked: {error}')
            return

        def answered(future: Any) -> None:
            # A client that stays costs the executor time at every turn.
            self._node.destroy_client(client)
            take(future.result())

        client.call_async(request).add_done_callback(answered)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return list(value)
    return list(value) if isinstance(value, array | list | tuple) else value
