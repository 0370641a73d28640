"""Where weights come from: what a checkpoint's manifest says about its training."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
import platform
import shutil
import subprocess
from typing import Any

from vla_learning.experiment import Experiment
from vla_learning.structure import plain

_PACKAGES = ('torch', 'accelerate', 'numpy', 'transformers', 'torchvision')


def provenance(experiment: Experiment, step: int, processes: int) -> dict[str, Any]:
    """Say how weights came about.

    Args:
        experiment: with all its values, the seed among them.
        step: optimiser steps taken.
        processes: that shared each batch.
    """
    return {
        'revision': revision(),
        'experiment': plain(experiment),
        'step': step,
        'processes': processes,
        'versions': {'python': platform.python_version(), **_versions()},
    }


def revision() -> str:
    """Git revision, marked if files of this package differ from it; empty outside of git."""
    git = shutil.which('git')
    if git is None:
        return ''

    def ask(*arguments: str) -> str:
        here = Path(__file__).resolve().parents[1]
        command = [git, *arguments]
        result = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)
        return result.stdout.strip()

    found = ask('rev-parse', '--short=12', 'HEAD')
    return f'{found}-dirty' if found and ask('status', '-s', '.') else found


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
