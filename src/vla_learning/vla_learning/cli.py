"""`vla-learn`: train the demo policy, choose between checkpoints, export a run as it stands."""

from __future__ import annotations

import argparse
from dataclasses import replace
import json
import logging
import os
from pathlib import Path
import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vla_learning.sim.recipe import Recipe

# Spinning OpenMP threads starve beside any other busy process, and large blocks that go back to
# the system after every step cost a fifth of the time. Both are read when a process starts.
ENVIRONMENT = {
    'OMP_WAIT_POLICY': 'PASSIVE',
    'GOMP_SPINCOUNT': '0',
    'MALLOC_MMAP_MAX_': '0',
    'MALLOC_TRIM_THRESHOLD_': str(8 << 30),
    'MALLOC_TOP_PAD_': str(256 << 20),
    'GLIBC_TUNABLES': 'glibc.malloc.hugetlb=1',
}


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    if any(name not in os.environ for name in ENVIRONMENT) and arguments is None:
        os.environ.update(ENVIRONMENT | {n: os.environ[n] for n in ENVIRONMENT if n in os.environ})
        os.execv(sys.executable, [sys.executable, *sys.argv])  # noqa: S606 (same program again)
    logging.basicConfig(level=logging.INFO, format='%(asctime)s %(message)s')
    try:
        from vla_core.errors import VlaError
        from vla_learning.sim import recipe
    except ModuleNotFoundError as error:
        print(f'vla-learn: {error.name} is missing: run `make setup-train`', file=sys.stderr)
        return 1
    try:
        return _COMMANDS[options.command](options, recipe)
    except VlaError as error:
        print(f'vla-learn: {error}', file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='vla-learn', description=__doc__)
    commands = parser.add_subparsers(dest='command', required=True)
    for name, text in (
        ('demo', 'make the demo policy; goes on where it was interrupted'),
        ('export', 'export the latest checkpoint of a run'),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument(
            '--run', type=Path, default=Path('build/learning'), help='work folder'
        )
        command.add_argument(
            '--checkpoint',
            type=Path,
            default=Path('src/vla_bringup/checkpoints/demo'),
            help='result',
        )
        command.add_argument('--steps', type=int, help='optimiser steps instead of the recipe')
        command.add_argument('--frames', type=int, help='sampled pictures instead of the recipe')
        command.add_argument('--smoke', action='store_true', help='seconds: runs, learns nothing')
    command = commands.add_parser('choose', help='drive episodes on layouts kept for choosing')
    command.add_argument(
        '--checkpoint', type=Path, default=Path('src/vla_bringup/checkpoints/demo')
    )
    command.add_argument('--episodes', type=int, default=50)
    command.add_argument('--seed', type=int, help='first layout; 500000 to 999999')
    command.add_argument('--blind', action='store_true', help='mean language features')
    command.add_argument('--swapped', action='store_true', help='name another object')
    return parser


def _recipe_of(options: argparse.Namespace, module: ModuleType) -> Recipe:
    chosen = module.SMOKE if options.smoke else module.Recipe()
    if options.frames is not None:
        chosen = replace(chosen, frames=options.frames)
    if options.steps is not None:
        rounds = tuple(step * options.steps // chosen.train.steps for step in chosen.rounds)
        chosen = replace(chosen, rounds=rounds, train=replace(chosen.train, steps=options.steps))
    return chosen


def _demo(options: argparse.Namespace, module: ModuleType) -> int:
    parity = module.follow(_recipe_of(options, module), options.run, options.checkpoint)
    print(f'{options.checkpoint}: largest difference from torch {max(parity.values()):.1e}')
    return 0


def _export(options: argparse.Namespace, module: ModuleType) -> int:
    parity = module.export_run(_recipe_of(options, module), options.run, options.checkpoint)
    print(f'{options.checkpoint}: largest difference from torch {max(parity.values()):.1e}')
    return 0


def _choose(options: argparse.Namespace, module: ModuleType) -> int:
    seed = module.CHOOSING_SEEDS if options.seed is None else options.seed
    if not module.CHOOSING_SEEDS <= seed <= 1_000_000 - options.episodes:
        print(f'vla-learn: seed {seed}: expected 500000 to 999999', file=sys.stderr)
        return 1
    policy = module.OnnxPolicy(options.checkpoint)
    counts = module.judge(
        policy, range(seed, seed + options.episodes), options.swapped, options.blind
    )
    print(json.dumps(counts, indent=1))
    return 0


_COMMANDS = {'demo': _demo, 'export': _export, 'choose': _choose}

if __name__ == '__main__':
    sys.exit(main())
