"""Play an evaluation in blocks of ten episodes, each on a fresh graph, some of them side by side.

A block is the same wherever and beside whatever it is played: no result depends on JOBS. What
silences the graph has failed; a new graph goes on with what comes next.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
from vla_learning.evaluation.episodes import Answer, hear, make_ready, Outcome, play, silent
from vla_learning.evaluation.report import Results
from vla_learning.evaluation.tasks import (
    BLIND,
    DRIVEN,
    LOOKED_THROUGH,
    purpose_of,
    SAID,
    Sentence,
    sentences,
    Task,
    task,
)
from vla_ros.files import checkpoint_path
from vla_ros.lockstep import LockstepError
from vla_sim.arena import Arena
from vla_sim.graph import lockstep_graph
from vla_sim.layout import sample_layout

BLOCK = 10
#: Starts of a graph that may fail one after the other.
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
    """What came of a block; `restarts` counts graphs after the first."""

    block: Block
    results: tuple[Outcome | Answer, ...]
    restarts: int


def plan(episodes: int, categories: Sequence[str], seed: int) -> list[Block]:
    """Divide the evaluation into blocks; the longest episodes come first."""
    driven = [category for category in (BLIND, *DRIVEN[:-1]) if category in categories]
    blocks = [
        Block(category, first, min(BLOCK, episodes - first))
        for category in driven
        for first in range(0, episodes, BLOCK)
    ]
    said = [category for category in SAID if category in categories]
    return blocks + [Block(category, 0, len(sentences(category, seed))) for category in said]


def play_block(block: Block, settings: Settings, log: Path) -> Played:
    """Play a block; where a graph falls silent, a new one goes on with the next item.

    Raises:
        LockstepError: if graphs fall silent before they are ready, ATTEMPTS times in a row.
    """
    items = _items(block, settings)
    results: list[Outcome | Answer] = []
    graphs = vain = 0
    while len(results) < len(items):
        graphs, vain, before = graphs + 1, vain + 1, len(results)
        try:
            for result in _go_on(block, items[before:], settings, log):
                results.append(result)
                vain = 0
        except LockstepError as error:
            with log.with_suffix('.errors').open('a', encoding='utf-8') as file:
                file.write(f'{error}\n')
            if vain == ATTEMPTS:
                raise
    return Played(block, tuple(results), graphs - 1)


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
    categories = [one for one in settings.categories if one not in unfit]
    blocks = plan(settings.episodes, categories, settings.seed)
    began = time.monotonic()
    played = _play_all(blocks, settings, logs, console)
    results = [one for part in played for one in part.results]
    return Results(
        policy=settings.policy,
        model_sha256=sha256,
        seed=settings.seed,
        episodes=settings.episodes,
        outcomes=tuple(one for one in results if isinstance(one, Outcome)),
        answers=tuple(one for one in results if isinstance(one, Answer)),
        restarts=sum(part.restarts for part in played),
        wall_seconds=time.monotonic() - began,
    )


def _items(block: Block, settings: Settings) -> list[Task] | list[Sentence]:
    if block.category in SAID:
        return sentences(block.category, settings.seed)
    numbers = range(block.first, block.first + block.count)
    return [task(block.category, settings.seed, number) for number in numbers]


def _go_on(
    block: Block, items: Sequence[Task | Sentence], settings: Settings, log: Path
) -> Iterator[Outcome | Answer]:
    """Play items on a new graph, up to the one that silences it."""
    blind: dict[str, dict[str, object]] = {'policy': {'ablate_language': True}}
    parameters = blind if block.category == BLIND else None
    with lockstep_graph(_arena(), settings.policy, log, parameters) as driver:
        driver.reset(sample_layout(settings.seed))
        if block.category in DRIVEN:
            make_ready(driver)
        for item in items:
            try:
                yield play(driver, item) if isinstance(item, Task) else hear(driver, item)
            except LockstepError:
                yield silent(item)
                raise


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
