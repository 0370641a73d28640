"""Stage the workspace's launch/ and config/ in this package, install them with its checkpoints.

The files are edited in the root's folders alone. They are staged as relative links
inside this package, ignored by git, so that nothing is ever written outside of it: not with
--symlink-install, and not when the workspace lies inside a larger one.
"""

import os
from pathlib import Path

from setuptools import setup

NAME = 'vla_bringup'
SHARE = Path('share') / NAME
# colcon runs this file through a link in its build folder: only the real path leads to the root.
PACKAGE = Path(__file__).resolve().parent
STAGED = ('launch', 'config')
SHIPPED = (*STAGED, 'checkpoints')


def stage(folder: str) -> None:
    """Make `folder` of the workspace root visible inside the package."""
    link, source = PACKAGE / folder, PACKAGE.parents[1] / folder
    if not source.is_dir():
        if not link.is_dir():
            raise FileNotFoundError(
                f'{NAME}: the workspace has no {folder}/; expected it at {source}'
            )
        return
    target = os.path.relpath(source, PACKAGE)
    if link.is_symlink() and str(link.readlink()) == target:
        return
    if link.is_symlink():
        link.unlink()
    link.symlink_to(target, target_is_directory=True)


def installed(folder: str) -> list[tuple[str, list[str]]]:
    """List the files of `folder` as setuptools' data_files, one entry for each directory."""
    entries = []
    for directory, below, names in os.walk(PACKAGE / folder, followlinks=True):
        below[:] = [name for name in below if name != '__pycache__']
        relative = Path(directory).relative_to(PACKAGE)
        files = sorted(str(relative / name) for name in names if not name.startswith('.'))
        if files:
            entries.append((str(SHARE / relative), files))
    return entries


for staged in STAGED:
    stage(staged)

setup(
    name=NAME,
    version='0.1.0',
    description='Launch files, configuration, demo checkpoint and system tests',
    license='Apache-2.0',
    maintainer='VLA workspace maintainers',
    maintainer_email='maintainers@example.org',
    packages=[NAME],
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{NAME}']),
        (str(SHARE), ['package.xml']),
        *(entry for folder in SHIPPED for entry in installed(folder)),
    ],
    extras_require={'test': ['pytest']},
    zip_safe=False,
)
