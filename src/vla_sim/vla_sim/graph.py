"""The real graph in lock-step, with a driver in place of the simulator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vla_cli.graph import Graph, Parameters
from vla_ros.domains import own_domain
from vla_sim.arena import Arena
from vla_sim.lockstep import LockstepDriver

#: Nodes that must not judge by the wall clock.
CLOCKED = ('gate', 'camera', 'policy', 'monitor')


@contextmanager
def lockstep_graph(
    arena: Arena, policy: str, log: Path, parameters: Parameters | None = None
) -> Iterator[LockstepDriver]:
    """Start a graph in a domain of its own and give its driver once every hop is there.

    Args:
        arena: what is simulated.
        policy: checkpoint or built-in policy.
        log: file that takes the graph's output.
        parameters: node -> parameter -> value.

    Raises:
        SimulationError: if it is not complete in time.
        GraphError: if it ends before that.
    """
    values = {node: {'clock': 'lockstep', **(parameters or {}).get(node, {})} for node in CLOCKED}
    arguments = {'robot': 'sim', 'sim': 'false', 'policy': policy, 'use_sim_time': 'true'}
    with own_domain() as domain_id:
        graph = Graph(domain_id, log, arguments, values)
        try:
            driver = LockstepDriver(arena, domain_id)
            try:
                driver.wait_for_graph(graph.check)
                yield driver
            finally:
                driver.close()
        finally:
            graph.close()
