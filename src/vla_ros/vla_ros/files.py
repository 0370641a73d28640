"""Find robots and checkpoints by name in vla_bringup, or by path."""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory

from vla_core.admission import admit
from vla_core.errors import ConfigError
from vla_core.policy import create_policy, policy_names
from vla_core.types import PolicySpec


def robot_path(name_or_path: str) -> Path:
    """Return the robot file `config/robots/<name>.yaml` of vla_bringup, or the given file.

    Raises:
        ConfigError: if there is no such file; the message lists the known names.
    """
    return _find(name_or_path, 'config/robots', '.yaml', 'robot')


def checkpoint_path(name_or_path: str) -> Path:
    """Return the folder `checkpoints/<name>` of vla_bringup, or the given folder.

    Raises:
        ConfigError: if there is no such folder; the message lists the known names.
    """
    return _find(name_or_path, 'checkpoints', '', 'checkpoint')


def policy_path(name_or_path: str) -> Path:
    """Return what `checkpoint_path` does, where a built-in policy would have done as well.

    Raises:
        ConfigError: if there is no such folder; the message lists the policies, too.
    """
    try:
        return checkpoint_path(name_or_path)
    except ConfigError as error:
        raise ConfigError(f'{error}, or a policy of {policy_names()}') from error


def find_spec(checkpoint: str) -> PolicySpec:
    """Return the contract of a built-in policy or of a checkpoint; no model is loaded.

    Raises:
        ConfigError: if there is neither.
        CheckpointError: if the folder is refused, and nothing can take its place.
    """
    if checkpoint in policy_names():
        return create_policy(checkpoint, None).spec
    return admit(policy_path(checkpoint)).manifest.spec


def expanded(path: str, what: str) -> Path:
    """Return a path with its `~` resolved.

    Raises:
        ConfigError: if that is the home of nobody.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ConfigError(f'{what} {path!r}: {error}: expected a path') from error


def _find(name_or_path: str, folder: str, suffix: str, what: str) -> Path:
    given = expanded(name_or_path, what)
    if len(given.parts) > 1 or given.suffix:
        if given.exists():
            return given
        raise ConfigError(f'{what} {name_or_path!r}: no such path')
    share = Path(get_package_share_directory('vla_bringup')) / folder
    found = share / f'{name_or_path}{suffix}'
    if name_or_path and found.exists():
        return found
    known = sorted(path.stem for path in share.glob(f'*{suffix}') if not path.name.startswith('.'))
    raise ConfigError(f'{what} {name_or_path!r}: expected a path or one of {known}')
