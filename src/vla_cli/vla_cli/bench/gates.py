"""Gates and nothing else: several in one graph, each the only one of its robot."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from vla_cli.graph import Graph
from vla_cli.live import LiveGraph
from vla_ros.domains import own_domain

_ROBOT_FILE = """\
simulated: true
self_arm: false
estop: none
odom: none
discovery: LOCALHOST
axes:
  linear.x: {max_speed: 0.5, max_accel: 2.0, max_decel: 1.0}
"""
_NODE = """\
  <group>
    <push_ros_namespace namespace="{space}"/>
    <node pkg="vla_safety" exec="gate" name="gate" output="screen" on_exit="shutdown">
      <param from="$(find-pkg-share vla_bringup)/config/gate.yaml"/>
      <param name="robot" value="{robot}" type="str"/>
    </node>
  </group>
"""


def spaces(count: int) -> list[str]:
    """Return the namespaces of so many robots."""
    return [f'robot{number}' for number in range(count)]


@contextmanager
def gates(count: int, name: str, folder: Path) -> Iterator[LiveGraph]:
    """Start `count` gates, one in each of `spaces`, and a watcher outside of the namespaces.

    Args:
        count: of gates.
        name: of the files.
        folder: for them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    robot_file, launch_file = folder / f'{name}_robot.yaml', folder / f'{name}.launch.xml'
    robot_file.write_text(_ROBOT_FILE)
    nodes = (_NODE.format(space=space, robot=robot_file.resolve()) for space in spaces(count))
    launch_file.write_text(f'<launch>\n{"".join(nodes)}</launch>\n')
    with own_domain() as domain_id:
        graph = Graph(domain_id, folder / f'{name}.log', {}, launch_file=str(launch_file))
        try:
            live = LiveGraph(graph, domain_id)
            try:
                yield live
            finally:
                live.close()
        finally:
            graph.close()


def processes(live: LiveGraph) -> dict[str, psutil.Process]:
    """Return the process of the gate in each namespace."""
    found = {}
    for child in psutil.Process(live.graph.pid).children(recursive=True):
        words = child.cmdline()
        if any(Path(word).name == 'gate' for word in words[:2]):
            space = next(word for word in words if word.startswith('__ns:='))
            found[space.removeprefix('__ns:=/')] = child
    return found
