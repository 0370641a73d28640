"""What the system tests share: an arena, and a lock-step graph per test file."""

from collections.abc import Iterator

import pytest

from vla_cli.graph import use_profile
from vla_sim.arena import Arena
from vla_sim.graph import lockstep_graph
from vla_sim.lockstep import LockstepDriver

POLICY = 'scripted'
# Now: any test of this run may make the first participant of the process.
use_profile()


@pytest.fixture(scope='module')
def arena() -> Iterator[Arena]:
    arena = Arena()
    yield arena
    arena.close()


@pytest.fixture(scope='module')
def driver(arena: Arena, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LockstepDriver]:
    """Drive one graph through all tests of a file; each test brings the robot to its start."""
    log = tmp_path_factory.mktemp('graph') / 'graph.log'
    with lockstep_graph(arena, POLICY, log) as driver:
        yield driver
