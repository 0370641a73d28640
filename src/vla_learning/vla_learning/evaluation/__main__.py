"""Closed-loop evaluation through the real graph: `python -m vla_learning.evaluation`, or `make evaluate`.

Settings come from the environment: EPISODES per category (50), SEED of the first layout (500000;
with FINAL=1: 1000001), JOBS graphs side by side (one per core), POLICY (demo). Results are in
build/evaluate.json and build/evaluate.png.

Episodes are played in blocks of ten, each on a fresh graph, so that no result depends on JOBS.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import as_completed, Future, ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
import multiprocessing
import os
from pathlib import Path
import sys
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from vla_core.errors import ConfigError, VlaError
from vla_core.manifest import load_manifest
from vla_core.policy import policy_names
from vla_ros.files import checkpoint_path
from vla_sim.arena import Arena
from vla_sim.errors import SimulationError
from vla_learning.evaluation.episodes import make_ready, Outcome, play, refused
from vla_learning.evaluation.report import draw, Results, show, write
from vla_learning.evaluation.tasks import (
    BLIND,
    DRIVEN,
    HELD_OUT_WORDINGS,
    NONSENSE,
    task,
    wordings,
)
from vla_sim.graph import lockstep_graph

BLOCK = 10
#: A graph that fell silent is started anew and its block played again, so often.
ATTEMPTS = 3
FIRST_SEED, FINAL_SEED = 500_000, 1_000_001


@dataclass(frozen=True)
class Settings:
    """What the environment asks for."""

    episodes: int
    seed: int
    jobs: int
    policy: str

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Settings:
        """Read EPISODES, SEED, FINAL, JOBS and POLICY.

        Raises:
            ConfigError: if one is not a number, or out of range.
        """
        cores = len(os.sched_getaffinity(0))
        first = FINAL_SEED if environment.get('FINAL') else FIRST_SEED
        return cls(
            episodes=_number(environment, 'EPISODES', 50, 1),
            seed=_number(environment, 'SEED', first, 0),
            jobs=_number(environment, 'JOBS', cores, 1),
            policy=environment.get('POLICY') or 'demo',
        )


@dataclass(frozen=True)
class Block:
    """Work for one graph: episodes `first` to `first + count - 1` of a category."""

    category: str
    first: int
    count: int


@dataclass(frozen=True)
class Played:
    """What came of a block; `refused` counts sentences, for the categories of wordings."""

    block: Block
    outcomes: tuple[Outcome, ...] = ()
    refused: int = 0
    restarts: int = 0


def plan(episodes: int, blind: bool) -> list[Block]:
    """Divide the evaluation into blocks; the longest episodes come first."""
    driven = [BLIND] * blind + [category for category in DRIVEN if category != BLIND]
    blocks = [
        Block(category, first, min(BLOCK, episodes - first))
        for category in driven
        for first in range(0, episodes, BLOCK)
    ]
    said = [
        Block(category, 0, len(wordings(category))) for category in (HELD_OUT_WORDINGS, NONSENSE)
    ]
    return blocks + said


def play_block(block: Block, settings: Settings, log: Path) -> Played:
    """Play a block, on a new graph if one falls silent.

    Raises:
        SimulationError: if it does so every time.
    """
    for attempt in range(ATTEMPTS):
        try:
            return _play_once(block, settings, log, attempt)
        except SimulationError:
            if attempt == ATTEMPTS - 1:
                raise
    raise AssertionError('unreachable')


def evaluate(settings: Settings, folder: Path, console: Console) -> Results:
    """Play everything and return what came of it.

    Raises:
        SimulationError: if a block cannot be played.
        VlaError: if the policy is not found or does not match its manifest.
    """
    builtin = settings.policy in policy_names()
    sha256 = '' if builtin else load_manifest(checkpoint_path(settings.policy)).spec.model_sha256
    logs = folder / 'evaluate_logs'
    logs.mkdir(parents=True, exist_ok=True)
    blocks = plan(settings.episodes, blind=not builtin)
    began = time.monotonic()
    played = _play_all(blocks, settings, logs, console)
    return Results(
        policy=settings.policy,
        model_sha256=sha256,
        seed=settings.seed,
        episodes=settings.episodes,
        outcomes=tuple(outcome for part in played for outcome in part.outcomes),
        refused={
            part.block.category: (part.refused, part.block.count)
            for part in played
            if not part.outcomes
        },
        restarts=sum(part.restarts for part in played),
        wall_seconds=time.monotonic() - began,
    )


def main() -> int:
    """Run the command; return its exit status."""
    console = Console()
    folder = Path('build')
    try:
        settings = Settings.of(os.environ)
        results = evaluate(settings, folder, console)
    except (VlaError, SimulationError) as error:
        print(f'evaluate: {error}', file=sys.stderr)  # noqa: T201
        return 2
    write(results, folder / 'evaluate.json')
    draw(results, folder / 'evaluate.png')
    show(results, console)
    return 0


def _play_once(block: Block, settings: Settings, log: Path, restarts: int) -> Played:
    blind = {'policy': {'ablate_language': True}} if block.category == BLIND else None
    with lockstep_graph(_arena(), settings.policy, log, blind) as driver:
        if block.category not in DRIVEN:
            driver.tick(2)
            count = refused(driver, wordings(block.category))
            return Played(block, refused=count, restarts=restarts)
        make_ready(driver)
        numbers = range(block.first, block.first + block.count)
        outcomes = tuple(
            play(driver, task(block.category, settings.seed, number)) for number in numbers
        )
        return Played(block, outcomes, restarts=restarts)


def _play_all(
    blocks: list[Block], settings: Settings, logs: Path, console: Console
) -> list[Played]:
    columns = (TextColumn('evaluate'), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    # Fork would copy threads of the middleware and an OpenGL context into the workers.
    context = multiprocessing.get_context('spawn')
    with (
        Progress(*columns, TextColumn('{task.description}'), console=console) as progress,
        ProcessPoolExecutor(settings.jobs, mp_context=context) as pool,
    ):
        bar = progress.add_task('', total=sum(block.count for block in blocks))
        waiting: dict[Future[Played], Block] = {
            pool.submit(
                play_block, block, settings, logs / f'{block.category}-{block.first}.log'
            ): block
            for block in blocks
        }
        played = []
        try:
            for future in as_completed(waiting):
                played.append(future.result())
                block = waiting[future]
                progress.update(bar, advance=block.count, description=block.category)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    order = {block: index for index, block in enumerate(blocks)}
    return sorted(played, key=lambda part: order[part.block])


@cache
def _arena() -> Arena:
    """One per process: its OpenGL context is slow to make."""
    return Arena()


def _number(environment: Mapping[str, str], name: str, default: int, low: int) -> int:
    text = environment.get(name) or str(default)
    if not (text.isascii() and text.isdigit() and int(text) >= low):
        raise ConfigError(f'{name} is {text!r}: expected an integer >= {low}')
    return int(text)


if __name__ == '__main__':
    sys.exit(main())
