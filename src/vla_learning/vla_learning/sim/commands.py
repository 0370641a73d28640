"""`vla-learn demo` and `vla-learn choose`; torch is imported only when they run."""

from __future__ import annotations

from dataclasses import dataclass, field
import json
from pathlib import Path
from typing import Annotated

import tyro

from vla_core.errors import ConfigError
from vla_core.manifest import load_manifest
from vla_core.policy import create_policy

_DEMO = Path('src/vla_bringup/checkpoints/demo')
#: Layouts from here to below a million are for choosing between checkpoints.
_FIRST, _END = 500_000, 1_000_000


@dataclass(frozen=True)
class Demo:
    """Make the demo policy; goes on where it was interrupted.

    Attributes:
        experiment: what is learned, and how.
        run: work folder.
        checkpoint: result.
        steps: optimiser steps instead of the experiment's.
        frames: sampled pictures instead of the experiment's.
        smoke: seconds instead of hours: everything runs, nothing is learned.
        export_only: export the run as it stands.
    """

    experiment: Path = Path('src/vla_learning/experiments/demo.yaml')
    run: Path = Path('build/learning')
    checkpoint: Path = _DEMO
    steps: int | None = None
    frames: int | None = None
    smoke: bool = False
    export_only: bool = False


@dataclass(frozen=True)
class Choose:
    """Drive episodes on layouts kept for choosing.

    Attributes:
        checkpoint: folder.
        categories: go_to, stop, obstacles, swapped, left, right, nearest, tall, motion; none: all.
        episodes: of each category.
        seed: first layout, 500000 to 999999.
        blind: take the words away.
    """

    checkpoint: Path = _DEMO
    categories: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = field(default=())
    episodes: int = 50
    seed: int = _FIRST
    blind: bool = False


def make_demo(options: Demo) -> int:
    """Follow the recipe; returns the exit status."""
    from vla_learning.experiment import load_experiment
    from vla_learning.sim import recipe

    chosen = recipe.SMOKE if options.smoke else load_experiment(options.experiment)
    chosen = recipe.scaled(chosen, options.frames, options.steps)
    make = recipe.export_run if options.export_only else recipe.follow
    make(chosen, options.run, options.checkpoint)
    print(f'{options.checkpoint}: exported')
    return 0


def choose(options: Choose) -> int:
    """Measure a policy and print the counts as JSON; returns the exit status.

    Raises:
        ConfigError: if there is no episode, a layout would not be one for choosing, or a category
            is unknown.
        CheckpointError: if the checkpoint is not what its manifest says.
    """
    if options.episodes < 1:
        raise ConfigError(f'episodes is {options.episodes}: expected at least 1')
    if not _FIRST <= options.seed <= _END - 100 * options.episodes:
        raise ConfigError(f'seed {options.seed}: expected 500000 to 999999, and far from its end')
    from vla_learning.sim import choosing

    known = [*choosing.CATEGORIES, choosing.MOTION]
    unknown = sorted(set(options.categories) - set(known))
    if unknown:
        raise ConfigError(f'category {unknown[0]!r}: expected one of {known}')
    policy = create_policy(load_manifest(options.checkpoint).policy, options.checkpoint)
    counts = choosing.refusals(policy)
    counts |= choosing.choose(
        policy, list(options.categories) or known, options.seed, options.episodes, options.blind
    )
    print(json.dumps(counts, indent=1))
    return 0
