"""The rows of vla_learning, measured in a process of its own; some need torch."""

from __future__ import annotations

import importlib.util
import json

from vla_cli.bench.child import printed
from vla_cli.bench.report import Row
from vla_core.errors import VlaError
from vla_ros.files import checkpoint_path


class Missing(VlaError):
    """What a measurement needs is not installed; nothing is wrong with the others."""


def feeding(batches: int) -> list[Row]:
    """Measure the input pipeline and the training step.

    Raises:
        Missing: if there is no torch to do it with.
        VlaError: if the process that measures fails.
    """
    _require('input_pipeline, training_step', 'torch', 'torchvision')
    return rows_of('vla_learning.cli', 'bench', '--batches', str(batches))


def smoothness(policy: str, commands: int) -> list[Row]:
    """Measure the jerk of what is commanded, and the steps at the boundaries of chunks.

    Raises:
        VlaError: if the process that measures fails.
    """
    return rows_of('vla_learning.sim.smoothness', policy, str(commands))


def variants(policy: str, frames: int) -> list[Row]:
    """Time every way of running a checkpoint, in turns with eager.

    Raises:
        Missing: if there is no torch or onnx to make them with.
        ConfigError: if there is no such checkpoint.
        VlaError: if the process that measures fails.
    """
    _require('variants', 'torch', 'onnx')
    module = 'vla_learning.optimise.side_by_side'
    return rows_of(module, str(checkpoint_path(policy)), str(frames))


def _require(what: str, *modules: str) -> None:
    missing = [name for name in modules if not importlib.util.find_spec(name)]
    if missing:
        raise Missing(f'{what}: left out, for {missing[0]} is missing (make setup-train)')


def rows_of(module: str, *arguments: str) -> list[Row]:
    """Return the rows that a module prints as JSON, run in a process of its own.

    Raises:
        VlaError: if the process fails.
    """
    text = printed(['-m', module, *arguments], 'the learning part of the benchmark')
    return [Row(**row) for row in json.loads(text)]
