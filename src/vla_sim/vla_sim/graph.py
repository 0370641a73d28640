"""The real graph in lock-step, with a driver in place of the simulator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vla_cli.driven_graph import driven_graph
from vla_cli.graph import Parameters
from vla_sim.arena import Arena
from vla_sim.lockstep import LockstepDriver


@contextmanager
def lockstep_graph(
    arena: Arena, policy: str, log: Path, parameters: Parameters | None = None
) -> Iterator[LockstepDriver]:
    """Start a graph in a domain of its own and give its simulator once every hop is there.

    Args:
        arena: what is simulated.
        policy: checkpoint or built-in policy.
        log: file that takes the graph's output.
        parameters: node -> parameter -> value.

    Raises:
        LockstepError: if it is not complete in time.
        GraphError: if it ends before that.
    """
    with driven_graph(
        lambda domain_id: LockstepDriver(arena, domain_id), 'sim', policy, log, parameters
    ) as driver:
        yield driver
