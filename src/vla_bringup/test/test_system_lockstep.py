"""Lock-step through the real processes: equal to the bit, and a missing hop is named."""

from pathlib import Path

import psutil
import pytest

from vla_learning.evaluation.episodes import make_ready, Outcome, play
from vla_learning.evaluation.tasks import GO_TO, MOTION, Task
from vla_ros.lockstep import LockstepError
from vla_sim.arena import Arena
from vla_sim.graph import lockstep_graph
from vla_sim.layout import sample_layout

SEED = 500115
TASKS = (
    Task(GO_TO, SEED, 'go to the red box', False, sample_layout(SEED).target),
    Task(MOTION, SEED, 'turn right', False, motion='turn right'),
)


def played(arena: Arena, log: Path) -> list[Outcome]:
    """Play both tasks on a graph of their own."""
    with lockstep_graph(arena, 'scripted', log) as driver:
        driver.reset(TASKS[0].layout)
        make_ready(driver)
        return [play(driver, task) for task in TASKS]


def test_equal_runs_are_equal_to_the_bit(arena: Arena, tmp_path: Path):
    first, second = (played(arena, tmp_path / f'{run}.log') for run in range(2))
    assert [outcome.success for outcome in first] == [True, True]
    assert [outcome.digest for outcome in first] == [outcome.digest for outcome in second]
    assert [outcome.poses for outcome in first] == [outcome.poses for outcome in second]


@pytest.mark.parametrize(
    ('executable', 'named'), [('camera', 'camera or policy'), ('gate', 'gate')]
)
def test_missing_hop_is_named(arena: Arena, tmp_path: Path, executable: str, named: str):
    with lockstep_graph(arena, 'hold', tmp_path / 'graph.log') as driver:
        driver.reset(TASKS[0].layout)
        driver.tick(10)
        (process,) = (
            process
            for process in psutil.Process().children(recursive=True)
            if any(Path(word).name == executable for word in process.cmdline()[:2])
        )
        process.kill()
        with pytest.raises(LockstepError, match=rf'no progress for 5 s: tick 1\d: .*{named}'):
            driver.tick(4)
