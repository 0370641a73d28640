"""Build src/ into install/ with colcon, over the wheels in .venv or a sourced ROS."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
import subprocess

from workspace import (
    BootstrapError,
    clean_environment,
    PYTHON,
    read_stamp,
    ROOT,
    ROS_DISTRO,
    say,
    SITE_PACKAGES,
    VENV,
    write_stamp,
)

# The wheels lack tf2_msgs, a ROS installation has it.
SOURCES = ('src',) if ROS_DISTRO else ('src', 'requirements/tf2_msgs')
# Python modules are linked, so that only these make another build necessary, and new file names.
STRUCTURE = ('.xml', '.cfg', '.txt', '.msg', '.srv', '.action', '.meta')


def build() -> None:
    """Run colcon; does nothing if no file that it reads has changed."""
    if not read_stamp('setup'):
        raise BootstrapError('there is no environment yet; run: make setup')
    stamp = inputs()
    if read_stamp('build') == stamp and all_installed():
        say('build: up to date')
        return
    if not (ROOT / 'install' / 'vla_interfaces').is_dir():
        say('build: the first build compiles the messages, which takes a minute or two')
    write_stamp('build', '')
    command = [str(PYTHON), '-m', 'colcon', 'build', '--symlink-install']
    command += ['--base-paths', *SOURCES, '--metas', 'colcon.meta']
    command += ['--cmake-args', f'-DPython3_EXECUTABLE={PYTHON}']
    if subprocess.run(command, cwd=ROOT, env=environment(), check=False).returncode:
        raise BootstrapError(f'colcon failed; its logs are in {ROOT / "log" / "latest_build"}')
    free_scripts_of_quotes()
    write_stamp('build', stamp)


def inputs() -> str:
    """Hash what a build depends on."""
    digest = hashlib.sha256((read_stamp('setup') + str(ROOT)).encode())
    for top in (*SOURCES, 'launch', 'config'):
        for directory, below, names in os.walk(ROOT / top):
            below[:] = sorted(name for name in below if name != '__pycache__')
            for name in sorted(names):
                path = Path(directory, name)
                digest.update(str(path.relative_to(ROOT)).encode())
                if name == 'setup.py' or (path.suffix in STRUCTURE and top in SOURCES):
                    digest.update(path.read_bytes())
    return digest.hexdigest()


def all_installed() -> bool:
    """Tell whether every package of src/ has its install folder."""
    names = [path.parent.name for path in ROOT.glob('src/*/package.xml')]
    return all((ROOT / 'install' / name / 'share' / name).is_dir() for name in names)


def environment() -> dict[str, str]:
    """Return the environment in which CMake finds the wheels: .venv is an ament prefix."""
    values = clean_environment()
    values['PATH'] = f'{VENV / "bin"}:{values["PATH"]}'
    # Otherwise colcon tells make to wait for a load average that a busy machine never has.
    values['MAKEFLAGS'] = f'-j{os.cpu_count()}'
    if not ROS_DISTRO:
        values.update(
            AMENT_PREFIX_PATH=str(VENV),
            CMAKE_PREFIX_PATH=str(VENV),
            LD_LIBRARY_PATH=str(VENV / 'lib'),
            PYTHONPATH=str(SITE_PACKAGES),
        )
    return values


def free_scripts_of_quotes() -> None:
    """Repair scripts whose first line names an interpreter in a path with spaces.

    setuptools quotes such a path, the kernel does not understand quotes there. `vla-env` has this
    workspace's interpreter first in PATH.
    """
    for pattern in ('install/*/bin/*', 'install/*/lib/*/*'):
        for script in ROOT.glob(pattern):
            if script.is_file() and not script.is_symlink():
                first, _, rest = script.read_bytes().partition(b'\n')
                if first.startswith(b'#!"'):
                    script.write_bytes(b'#!/usr/bin/env python3\n' + rest)
