"""What must come from the system: a compiler, a renderer, a ROS that fits; apt where allowed."""

from __future__ import annotations

from collections.abc import Sequence
import importlib.util
import os
from pathlib import Path
import shutil
import subprocess
import sys
import sysconfig

from workspace import BootstrapError, ROOT, ROS_DISTRO, say

# Each of these renders without a screen; one is enough.
RENDERERS = ('libOSMesa.so', 'libEGL_mesa.so', 'libEGL_nvidia.so')
RENDERER_PACKAGES = (
    'libosmesa6',
    'libegl1',
    'libgl1',
    'libegl-mesa0',
    'libgles2',
    'libgl1-mesa-dri',
)


def require_place() -> None:
    """Refuse a path that cannot work and an interpreter that a sourced ROS was not built for."""
    if ':' in str(ROOT):
        raise BootstrapError(f'{ROOT} has a colon, which no search path can hold; move the folder')
    if ROS_DISTRO and importlib.util.find_spec('rclpy') is None:
        raise BootstrapError(
            f'ROS 2 {ROS_DISTRO} is sourced, but {sys.executable} does not find its rclpy; '
            'run: make setup PYTHON=/usr/bin/python3'
        )


def require_system() -> None:
    """Install missing system packages through apt, or say the command that does."""
    needed = missing_build_packages()
    if needed and not (apt_install(needed) and not missing_build_packages()):
        raise BootstrapError(f'{" and ".join(needed)} missing; run: {apt_command(needed)}')
    if not can_render() and not apt_install(RENDERER_PACKAGES):
        say(
            'setup: no OpenGL library here renders without a screen, the simulator needs one; '
            f'run: {apt_command(RENDERER_PACKAGES)}'
        )


def missing_build_packages() -> list[str]:
    """List the Debian packages without which .venv or the messages cannot be made."""
    python = f'python3.{sys.version_info[1]}'
    have = {
        'g++': shutil.which('g++') or shutil.which('c++'),
        'cmake': shutil.which('cmake'),
        'make': shutil.which('make'),
        f'{python}-dev': Path(sysconfig.get_path('include'), 'Python.h').is_file(),
        f'{python}-venv': importlib.util.find_spec('ensurepip'),
    }
    return [package for package, found in have.items() if not found]


def can_render() -> bool:
    """Tell whether the dynamic linker knows a library that renders without a screen."""
    ldconfig = shutil.which('ldconfig', path=f'{os.environ.get("PATH", "")}:/sbin:/usr/sbin')
    if ldconfig is None:
        return False
    known = subprocess.run([ldconfig, '-p'], capture_output=True, text=True, check=False).stdout
    return any(name in known for name in RENDERERS)


def apt_command(packages: Sequence[str]) -> str:
    """Return the command that a person would type."""
    elsewhere = '' if shutil.which('apt-get') else ' (or what your system calls them)'
    return f'sudo apt-get install -y {" ".join(packages)}{elsewhere}'


def apt_install(packages: Sequence[str]) -> bool:
    """Install Debian packages as root or with a sudo that asks for no password."""
    if shutil.which('apt-get') is None:
        return False
    command = ['env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get']
    if os.geteuid() != 0:
        if shutil.which('sudo') is None or failed(['sudo', '-n', 'true']):
            return False
        command = ['sudo', '-n', *command]
    say(f'setup: installing {" ".join(packages)} with apt')
    install = [*command, 'install', '-y', *packages]
    # The package lists of a fresh container are empty, those of a used machine need no update.
    return not failed(install) or not (failed([*command, 'update']) or failed(install))


def failed(command: list[str]) -> bool:
    """Run a command in silence and tell whether it failed."""
    return subprocess.run(command, capture_output=True, check=False).returncode != 0
