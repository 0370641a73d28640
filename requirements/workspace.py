"""What setup and build share: where things are, the environment of child processes, stamps."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
import sys

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ROOT / 'requirements'
VENV = ROOT / '.venv'
# Where the environment before waits until the one that replaces it is complete.
ASIDE = ROOT / '.venv.before'
PYTHON = VENV / 'bin' / 'python'
SITE_PACKAGES = VENV / 'lib' / f'python3.{sys.version_info[1]}' / 'site-packages'
# A sourced ROS distribution brings rclpy, cv_bridge, launch and the numpy they were compiled for.
ROS_DISTRO = os.environ.get('ROS_DISTRO', '')


class BootstrapError(Exception):
    """The workspace cannot be made usable; the message is one line with the remedy."""


def say(text: str) -> None:
    """Print one line of progress at once, also into a pipe."""
    print(text, flush=True)


def clean_environment() -> dict[str, str]:
    """Return the environment without what another Python or wheel environment left in it."""
    foreign = {'_ROS_WHEELS_BOOTSTRAP_COMPLETE', 'PYTHONHOME', 'VIRTUAL_ENV', 'MAKEFLAGS'}
    if not ROS_DISTRO:
        foreign |= {'AMENT_PREFIX_PATH', 'CMAKE_PREFIX_PATH', 'LD_LIBRARY_PATH', 'PYTHONPATH'}
    return {name: value for name, value in os.environ.items() if name not in foreign}


def stamp_of(*files: Path) -> str:
    """Hash the given files together with the interpreter, the ROS distribution and the place."""
    digest = hashlib.sha256(f'{interpreter()} {ROOT}'.encode())
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def interpreter() -> str:
    """Name what .venv is made from: a rebuild of the same minor version has the same ABI."""
    return f'{sys.implementation.cache_tag} {sys.base_prefix} {ROS_DISTRO}'


def same_interpreter(stamp: str) -> bool:
    """Tell whether .venv with this stamp of its interpreter can be used with this one."""
    # Older stamps begin with sys.version, which names the build too.
    minor = f'{sys.version_info[0]}.{sys.version_info[1]}.'
    older = stamp.startswith(minor) and stamp.endswith(f'] {sys.base_prefix} {ROS_DISTRO}')
    return older or stamp == interpreter()


def read_stamp(name: str) -> str:
    """Return what was last written for `name`, empty if nothing was."""
    file = VENV / f'{name}.stamp'
    return file.read_text() if file.is_file() else ''


def write_stamp(name: str, text: str) -> None:
    """Remember that `name` was finished for `text`."""
    (VENV / f'{name}.stamp').write_text(text)
