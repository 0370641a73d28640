"""Closed loop in the simulator: the tasks of `make evaluate`, without its graph, in parallel."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from functools import partial
import multiprocessing
from typing import Any

from tqdm import tqdm

from vla_learning.answers import EvaluationError
from vla_learning.asking import open_policy
from vla_learning.evaluation.tasks import GO_TO, RELATIONS, SWAPPED, Task, task
from vla_learning.sim.closed_loop import Driver

_POSE_EVERY = 3


@dataclass(frozen=True)
class Drive:
    """What became of an episode.

    Attributes:
        category: of the task, `go_to` or `relations`.
        seed: of the layout.
        target: index of the object that is meant.
        text: what was said.
        success: at rest near the named object, and done; a blind policy need not say so.
        wrong_object: at rest near another one instead, done or not.
        finished: the policy said that it was done.
        gap: m, to the named object.
        seconds: of simulated time.
        poses: x, y, yaw on the way, m and rad.
    """

    category: str
    seed: int
    target: int
    text: str
    success: bool
    wrong_object: bool
    finished: bool
    gap: float
    seconds: float
    poses: tuple[tuple[float, float, float], ...]

    def plain(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self) | {'poses': [[round(x, 3) for x in pose] for pose in self.poses]}


def read(plain: Iterable[dict[str, Any]]) -> list[Drive]:
    """Make drives of what JSON has.

    Raises:
        TypeError: if a field is missing or unknown.
    """
    return [Drive(**one | {'poses': tuple(tuple(p) for p in one['poses'])}) for one in plain]


def drive(driver: Driver, asked: Task, limit: float = 60.0) -> Drive:
    """Drive one episode.

    Args:
        driver: the policy in the simulator.
        asked: a task with a target.
        limit: s.
    """
    poses: list[tuple[float, float, float]] = []
    ending = driver.goal(asked.layout, asked.text, limit, lambda pose, image: poses.append(pose))
    return Drive(
        category=asked.category,
        seed=asked.seed,
        target=asked.target,
        text=asked.text,
        success=ending.reached(asked.target, driver.blind or asked.category == SWAPPED),
        wrong_object=ending.elsewhere(asked.target),
        finished=ending.finished,
        gap=ending.gaps[asked.target],
        seconds=ending.seconds,
        poses=(*poses[:-1:_POSE_EVERY], *poses[-1:]),
    )


def tasks(seed: int, episodes: int, relations: int) -> list[Task]:
    """Return tasks that name an object by colour and shape, then such that name it by a relation.

    Args:
        seed: of the first layout.
        episodes: tasks of the first kind.
        relations: tasks of the second.
    """
    named = [task(GO_TO, seed, number) for number in range(episodes)]
    return named + [task(RELATIONS, seed, number) for number in range(relations)]


def drive_all(
    name: str, asked: Sequence[Task], jobs: int, blind: bool = False, device: str = 'auto'
) -> list[Drive]:
    """Drive episodes in several processes; the outcome does not depend on how many.

    Args:
        name: policy or checkpoint folder.
        asked: tasks with a target.
        jobs: processes, at most.
        blind: take the words away.
        device: of the policy.

    Raises:
        EvaluationError: if a process dies.
        VlaError: if the policy cannot be loaded.
    """
    # Not forked: an OpenGL context does not survive a fork.
    context = multiprocessing.get_context('spawn')
    with ProcessPoolExecutor(min(jobs, len(asked)), mp_context=context) as pool:
        played = pool.map(partial(_play, name, device, blind), asked)
        try:
            return list(tqdm(played, 'driving', len(asked), unit='episode', mininterval=2))
        except BrokenProcessPool as error:
            raise EvaluationError(
                f'a process that drives {name} died: expected enough memory for {jobs} of them, '
                'or fewer (--jobs)'
            ) from error


#: Of this worker process; made for its first episode, so that what goes wrong is told.
_DRIVERS: list[Driver] = []


def _play(name: str, device: str, blind: bool, asked: Task) -> Drive:
    if not _DRIVERS:
        _DRIVERS.append(Driver(open_policy(name, device), blind))
    return drive(_DRIVERS[0], asked)


def worst_first(drives: Sequence[Drive]) -> list[Drive]:
    """Order drives for a person who looks at a few: failures, then long ways."""
    return sorted(drives, key=lambda one: (one.success, -one.seconds))
