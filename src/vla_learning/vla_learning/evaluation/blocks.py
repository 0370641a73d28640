"""Play an evaluation in blocks of ten episodes, each on a fresh graph, some of them side by side.

A block is the same wherever and beside whatever it is played: no result depends on JOBS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import as_completed, ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
import multiprocessing
import os
from pathlib import Path
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from vla_core.errors import ConfigError
from vla_core.manifest import load_manifest
from vla_core.policy import policy_names
from vla_learning.evaluation.episodes import make_ready, Outcome, play, refused
from vla_learning.evaluation.report import Results
from vla_learning.evaluation.tasks import (
    BLIND,
    DRIVEN,
    LOOKED_THROUGH,
    purpose_of,
    SAID,
    task,
    wordings,
)
from vla_ros.files import checkpoint_path
from vla_ros.lockstep import LockstepError
from vla_sim.arena import Arena
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
    categories: tuple[str, ...] = DRIVEN + SAID

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Settings:
        """Read EPISODES, SEED, FINAL, JOBS, POLICY and CATEGORIES.

        Raises:
            ConfigError: if one is not a number, out of range, or no category, or the layouts would
                be for choosing and for judging.
        """
        known = DRIVEN + SAID
        categories = tuple((environment.get('CATEGORIES') or '').split()) or known
        unknown = [category for category in categories if category not in known]
        if unknown:
            raise ConfigError(
                f'CATEGORIES has {unknown[0]!r}: expected some of {", ".join(known)}'
            )
        cores = len(os.sched_getaffinity(0))
        final = environment.get('FINAL') or '0'
        if final not in ('0', '1'):
            raise ConfigError(f'FINAL is {final!r}: expected 1, or 0 or nothing')
        first = FINAL_SEED if final == '1' else FIRST_SEED
        episodes = _number(environment, 'EPISODES', 50, 1)
        seed = _number(environment, 'SEED', first, 0)
        purpose_of(seed, seed + LOOKED_THROUGH * episodes)
        return cls(
            episodes=episodes,
            seed=seed,
            jobs=_number(environment, 'JOBS', cores, 1),
            policy=environment.get('POLICY') or 'demo',
            categories=categories,
        )


@dataclass(frozen=True)
class Block:
    """Work for one graph: episodes `first` to `first + count - 1`, or all sentences."""

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


def plan(episodes: int, categories: Sequence[str]) -> list[Block]:
    """Divide the evaluation into blocks; the longest episodes come first."""
    driven = [category for category in (BLIND, *DRIVEN[:-1]) if category in categories]
    blocks = [
        Block(category, first, min(BLOCK, episodes - first))
        for category in driven
        for first in range(0, episodes, BLOCK)
    ]
    said = [category for category in SAID if category in categories]
    return blocks + [Block(category, 0, len(wordings(category))) for category in said]


def play_block(block: Block, settings: Settings, log: Path) -> Played:
    """Play a block, on a new graph if one falls silent.

    Raises:
        LockstepError: if it does so every time.
    """
    for restarts in range(ATTEMPTS - 1):
        try:
            return _play_once(block, settings, log, restarts)
        except LockstepError as error:
            with log.with_suffix('.errors').open('a', encoding='utf-8') as file:
                file.write(f'{error}\n')
    return _play_once(block, settings, log, ATTEMPTS - 1)


def evaluate(settings: Settings, logs: Path, console: Console) -> Results:
    """Play everything and return what came of it.

    Args:
        settings: what to play.
        logs: folder for what the graphs say.
        console: where progress is shown.

    Raises:
        LockstepError: if a block cannot be played.
        VlaError: if the policy is not found or does not match its manifest.
    """
    # A built-in policy has no language features that could be left out.
    builtin = settings.policy in policy_names()
    sha256 = '' if builtin else load_manifest(checkpoint_path(settings.policy)).spec.model_sha256
    logs.mkdir(parents=True, exist_ok=True)
    unfit = (BLIND,) if builtin else ()
    blocks = plan(settings.episodes, [one for one in settings.categories if one not in unfit])
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


def _play_once(block: Block, settings: Settings, log: Path, restarts: int) -> Played:
    blind: dict[str, dict[str, object]] = {'policy': {'ablate_language': True}}
    parameters = blind if block.category == BLIND else None
    with lockstep_graph(_arena(), settings.policy, log, parameters) as driver:
        if block.category not in DRIVEN:
            driver.reset(task(DRIVEN[0], settings.seed, 0).layout)
            driver.tick(2)
            count = refused(driver, wordings(block.category))
            return Played(block, refused=count, restarts=restarts)
        numbers = range(block.first, block.first + block.count)
        tasks = [task(block.category, settings.seed, number) for number in numbers]
        driver.reset(tasks[0].layout)
        make_ready(driver)
        return Played(block, tuple(play(driver, one) for one in tasks), restarts=restarts)


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
        waiting = {
            pool.submit(play_block, block, settings, logs / f'{block.category}-{block.first}.log')
            for block in blocks
        }
        played = []
        try:
            for future in as_completed(waiting):
                played.append(future.result())
                block = played[-1].block
                progress.update(bar, advance=block.count, description=block.category)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            # Nobody waits for their blocks any more; a worker's graph ends with it.
            for worker in multiprocessing.active_children():
                worker.terminate()
            raise
    return sorted(played, key=lambda part: blocks.index(part.block))


@cache
def _arena() -> Arena:
    """One per process: its OpenGL context is slow to make."""
    return Arena()


def _number(environment: Mapping[str, str], name: str, default: int, low: int) -> int:
    text = environment.get(name) or str(default)
    if not (text.isascii() and text.isdigit() and int(text) >= low):
        raise ConfigError(f'{name} is {text!r}: expected an integer >= {low}')
    return int(text)
