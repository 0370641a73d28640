"""The real graph in lock-step, driven from this process: by a simulator or a recording."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from vla_cli.graph import Graph, Parameters
from vla_ros.domains import own_domain
from vla_ros.lockstep import LockstepClock

ClockT = TypeVar('ClockT', bound=LockstepClock)

#: Nodes that must not judge by the wall clock.
CLOCKED = ('gate', 'camera', 'policy', 'monitor')


@contextmanager
def driven_graph(
    make_driver: Callable[[int], ClockT],
    robot: str,
    policy: str,
    log: Path,
    parameters: Parameters | None = None,
) -> Iterator[ClockT]:
    """Start a graph in a domain of its own and give its driver once every hop is there.

    Args:
        make_driver: makes it in this domain.
        robot: name or path of a robot file that allows lock-step.
        policy: checkpoint or built-in policy.
        log: file that takes the graph's output.
        parameters: node -> parameter -> value.

    Raises:
        LockstepError: if it is not complete in time.
        GraphError: if it ends before that.
    """
    values = {node: {'clock': 'lockstep', **(parameters or {}).get(node, {})} for node in CLOCKED}
    arguments = {'robot': robot, 'sim': 'false', 'policy': policy, 'use_sim_time': 'true'}
    with own_domain() as domain_id:
        graph = Graph(domain_id, log, arguments, values)
        try:
            driver = make_driver(domain_id)
            try:
                driver.wait_for_graph(graph.check)
                yield driver
            finally:
                driver.close()
        finally:
            graph.close()
