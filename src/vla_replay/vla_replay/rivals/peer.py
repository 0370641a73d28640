"""Start the node of the peer vla_ros2 (github.com/rsasaki0109/vla_ros2) from a checkout."""

from __future__ import annotations

import os
from pathlib import Path
import subprocess
import sys

from vla_core.errors import ConfigError

_MESSAGES, _NODE, _RUNTIME = 'ros2/vla_ros2_msgs', 'ros2/vla_ros2', 'src'
#: Environment variable through which our adapter learns the checkpoint.
CHECKPOINT = 'VLA_RIVAL_CHECKPOINT'
#: Topic of its texts: `command` is volatile, it asks for transient local.
INSTRUCTION = 'command_of_peer'
_ENTRY = '[vla_ros2.adapters]\nours = vla_replay.rivals.peer_adapter:Ours\n'
_METADATA = 'Metadata-Version: 2.1\nName: vla-rival\nVersion: 0\n'


def prepare(checkout: Path, checkpoint: Path, scratch: Path) -> dict[str, str]:
    """Build the peer's messages, and announce our policy to its registry.

    Args:
        checkout: the peer's working tree; nothing is written there.
        checkpoint: folder of our policy.
        scratch: folder for what is built.

    Returns:
        Environment in which its node runs.

    Raises:
        ConfigError: if it is no checkout, or its messages cannot be built.
    """
    for part in (_MESSAGES, _NODE, _RUNTIME):
        if not (checkout / part).is_dir():
            raise ConfigError(
                f'--peer {checkout}: no {part} there: expected a checkout of rsasaki0109/vla_ros2'
            )
    scratch = scratch.resolve()
    done = subprocess.run(
        [
            *('colcon', '--log-base', str(scratch / 'log'), 'build'),
            *('--base-paths', str((checkout / _MESSAGES).resolve())),
            *('--build-base', str(scratch / 'build'), '--install-base', str(scratch / 'install')),
            *('--cmake-args', f'-DPython3_EXECUTABLE={sys.executable}'),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-3:]
        raise ConfigError(f'--peer {checkout}: its messages do not build: {" | ".join(last)}')
    announced = scratch / 'announced'
    described = announced / 'vla_rival-0.dist-info'
    described.mkdir(parents=True, exist_ok=True)
    (described / 'entry_points.txt').write_text(_ENTRY)
    (described / 'METADATA').write_text(_METADATA)
    package = scratch / 'install' / 'vla_ros2_msgs'
    modules = [str(found.parent) for found in package.rglob('vla_ros2_msgs/__init__.py')]
    sources = [str((checkout / part).resolve()) for part in (_RUNTIME, _NODE)]
    return {
        CHECKPOINT: str(checkpoint),
        'PYTHONPATH': _joined('PYTHONPATH', str(announced), *sources, *map(_parent, modules)),
        'AMENT_PREFIX_PATH': _joined('AMENT_PREFIX_PATH', str(package)),
        'LD_LIBRARY_PATH': _joined('LD_LIBRARY_PATH', str(package / 'lib')),
    }


def command(rate: float | None) -> list[str]:
    """Return the command line of its node, at its own polling rate or another one, Hz."""
    settings = {
        'model_name': 'ours',
        'dry_run': 'false',
        'device': 'cpu',
        'image_topic': '/camera/color/image_raw',
        'instruction_topic': f'/{INSTRUCTION}',
        'require_image': 'true',
        'clip_actions': 'false',
    }
    if rate is not None:
        settings['control_hz'] = str(rate)
    words = [word for key, value in settings.items() for word in ('-p', f'{key}:={value}')]
    start = 'from vla_ros2_ros.node import main; main()'
    return [sys.executable, '-c', start, '--ros-args', *words]


def _joined(name: str, *parts: str) -> str:
    return os.pathsep.join([*parts, *filter(None, [os.environ.get(name)])])


def _parent(path: str) -> str:
    return str(Path(path).parent)
