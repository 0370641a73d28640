"""`vla doctor`: what the robot needs on this machine, each line with its remedy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
import enum
from importlib import import_module, metadata
import os
from pathlib import Path
import platform
import shutil
import subprocess
import sys

from rich.console import Console
from rich.text import Text

_SHARED_MEMORY = Path('/dev/shm')  # noqa: S108 - Fast DDS uses this very folder
# Six processes with a segment of 20 MB each (config/fastdds.xml), and room.
_SHARED_MEMORY_NEEDED = 256e6
_PROBE_TIMEOUT = 60.0
# What the gate asks for (vla_safety/process.py).
_PRIORITY = 10


class Level(enum.Enum):
    """How a finding is shown."""

    OK = 'green'
    WARN = 'yellow'
    FAIL = 'bold red'


@dataclass(frozen=True)
class Finding:
    """One line: what was found and, unless all is well, what to do."""

    level: Level
    what: str
    remedy: str = ''


def examine(checkpoint: str) -> int:
    """Print every finding; return 1 if one is a failure."""
    checks: tuple[Callable[[], Iterator[Finding]], ...] = (
        _python,
        _ros,
        _interfaces,
        _middleware,
        _shared_memory,
        _discovery,
        _priority,
        _graphics,
        lambda: _checkpoint(checkpoint),
        _frames,
    )
    console = Console(soft_wrap=True)
    failed = False
    for check in checks:
        for finding in check():
            failed |= finding.level is Level.FAIL
            line = Text(f'{finding.level.name.lower():5}', finding.level.value)
            line.append(f' {finding.what}', 'default')
            console.print(line)
            if finding.remedy:
                console.print(f'      → {finding.remedy}', highlight=False, markup=False)
    return int(failed)


def _python() -> Iterator[Finding]:
    version = platform.python_version()
    if (3, 11) <= sys.version_info[:2] <= (3, 14):
        yield Finding(Level.OK, f'Python {version}')
    else:
        remedy = 'make setup PYTHON=/path/to/python3.11 (3.11 to 3.14)'
        yield Finding(Level.FAIL, f'Python {version}', remedy)


def _ros() -> Iterator[Finding]:
    try:
        import_module('rclpy')
    except ImportError as error:
        remedy = '. .venv/bin/vla-env (or source your ROS installation)'
        yield Finding(Level.FAIL, f'rclpy: {error}', remedy)
        return
    distro = os.environ.get('ROS_DISTRO')
    try:
        origin = f'wheels, rclpy {metadata.version("ros-jazzy-rclpy")}'
    except metadata.PackageNotFoundError:
        origin = f'installation, {distro}'
    yield Finding(Level.OK, f'ROS 2 from {origin}')


def _interfaces() -> Iterator[Finding]:
    try:
        messages = import_module('vla_interfaces.msg')
        # The Python module alone is not enough: its C library is loaded here.
        messages.Decision.__class__.__import_type_support__()
    except (ImportError, AttributeError) as error:
        yield Finding(
            Level.FAIL, f'vla_interfaces: {error}', 'make build, then . .venv/bin/vla-env'
        )
    else:
        yield Finding(Level.OK, 'messages of vla_interfaces are built')


def _middleware() -> Iterator[Finding]:
    try:
        name = import_module('rclpy.utilities').get_rmw_implementation_identifier()
    except Exception as error:
        # rclpy raises whatever the loader of the middleware raised.
        yield Finding(Level.FAIL, f'middleware: {error}', 'unset RMW_IMPLEMENTATION')
        return
    profile = os.environ.get('FASTRTPS_DEFAULT_PROFILES_FILE', '')
    if name != 'rmw_fastrtps_cpp':
        yield Finding(Level.OK, f'middleware {name}: no profile of ours; see the frames below')
    elif not profile:
        yield Finding(Level.OK, f'middleware {name}; launch sets the profile for its processes')
    elif Path(profile).is_file():
        yield Finding(Level.OK, f'middleware {name}, profile {profile}')
    else:
        remedy = 'unset FASTRTPS_DEFAULT_PROFILES_FILE: launch then uses config/fastdds.xml'
        yield Finding(Level.FAIL, f'middleware profile {profile} does not exist', remedy)


def _shared_memory() -> Iterator[Finding]:
    if not _SHARED_MEMORY.is_dir():
        return
    free = shutil.disk_usage(_SHARED_MEMORY).free
    what = f'{free / 1e6:.0f} MB of shared memory are free'
    if free >= _SHARED_MEMORY_NEEDED:
        yield Finding(Level.OK, what)
    else:
        remedy = 'fastdds shm clean; in a container: docker run --shm-size=512m'
        yield Finding(Level.WARN, what, remedy)


def _discovery() -> Iterator[Finding]:
    domain = os.environ.get('ROS_DOMAIN_ID', '0')
    try:
        transport = import_module('vla_ros.transport')
    except ImportError as error:
        yield Finding(Level.FAIL, f'discovery: {error}', 'make build, then . .venv/bin/vla-env')
        return
    reach = transport.discovery_range()
    what = f'ROS domain {domain}, discovery {reach}'
    if os.environ.get(transport.LOCALHOST_ONLY) == '1':
        what += f': {transport.LOCALHOST_ONLY} is 1, and nothing else is read'
        remedy = f'unset {transport.LOCALHOST_ONLY} where the robot is to be heard (SUBNET)'
        yield Finding(Level.WARN, what, remedy)
    elif reach in ('SUBNET', 'LOCALHOST'):
        yield Finding(Level.OK, what)
    else:
        remedy = 'unset ROS_AUTOMATIC_DISCOVERY_RANGE: launch sets it for its processes'
        yield Finding(Level.WARN, what, remedy)


def _priority() -> Iterator[Finding]:
    """Ask for it in a process of its own: neither root nor a limit says what is granted."""
    code = f'import os; os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param({_PRIORITY}))'
    done = _probe(['-c', code])
    if done.returncode == 0:
        yield Finding(Level.OK, f'real-time scheduling is granted: SCHED_FIFO {_PRIORITY}')
        return
    last = (done.stderr.strip().splitlines() or [f'status {done.returncode}'])[-1]
    remedy = (
        f'echo "$USER - rtprio {_PRIORITY}" | sudo tee /etc/security/limits.d/vla.conf; log in '
        'again; in a container: docker run --cap-add=SYS_NICE'
    )
    what = f'real-time scheduling is refused: SCHED_FIFO {_PRIORITY}, {last}'
    yield Finding(Level.WARN, what, remedy)


def _graphics() -> Iterator[Finding]:
    """Render one picture in a process of its own: a broken OpenGL library may end it."""
    code = (
        'from vla_sim import graphics; import mujoco, os; '
        'm = mujoco.MjModel.from_xml_string("<mujoco><worldbody/></mujoco>"); '
        'graphics.renderer(m, 64, 48); print(os.environ.get("MUJOCO_GL", "default"))'
    )
    done = _probe(['-c', code])
    if done.returncode == 0:
        yield Finding(Level.OK, f'simulator renders with {done.stdout.split()[-1]}')
    else:
        last = (done.stderr.strip().splitlines() or [f'status {done.returncode}'])[-1]
        yield Finding(Level.FAIL, f'simulator cannot render: {last}', 'make setup installs OSMesa')


def _checkpoint(name: str) -> Iterator[Finding]:
    try:
        from vla_core.errors import VlaError
        from vla_core.manifest import load_manifest, sha256
        from vla_core.policy import policy_names
        from vla_ros.files import find_spec, policy_path
    except ImportError as error:
        yield Finding(Level.FAIL, f'checkpoint {name}: {error}', 'make build')
        return
    try:
        if name in policy_names():
            find_spec(name)
            yield Finding(Level.OK, f'policy {name} is built in: no checkpoint is needed')
            return
        folder = policy_path(name)
        load_manifest(folder)
        digest = sha256(folder / 'manifest.yaml')
    except (VlaError, OSError, LookupError) as error:
        remedy = 'make build; git checkout -- src/vla_bringup/checkpoints'
        yield Finding(Level.FAIL, f'checkpoint {name}: {error}', remedy)
    else:
        yield Finding(Level.OK, f'checkpoint {name}: every file as in its manifest {digest[:12]}')


def _frames() -> Iterator[Finding]:
    """Count raw frames from another process, with the profile that launch would set."""
    environment = {'FASTRTPS_DEFAULT_PROFILES_FILE': _shipped_profile(), **os.environ}
    done = _probe(['-m', 'vla_cli.frame_loss'], environment)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f'status {done.returncode}'])[-1]
        yield Finding(Level.FAIL, f'raw frames between processes: {last}', 'see the lines above')
        return
    sent, arrived = map(int, done.stdout.split())
    what = f'{arrived} of {sent} raw frames arrived in another process'
    if arrived >= 0.95 * sent:
        yield Finding(Level.OK, what)
    else:
        remedy = (
            'use Fast DDS with config/fastdds.xml, give your middleware room for 1 MB messages, '
            'or set `transport: compressed` in config/camera.yaml'
        )
        yield Finding(Level.WARN, what, remedy)


def _shipped_profile() -> str:
    try:
        packages = import_module('ament_index_python.packages')
        return str(packages.get_package_share_path('vla_bringup') / 'config' / 'fastdds.xml')
    except (ImportError, LookupError):
        return ''


def _probe(
    arguments: list[str], environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    try:
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=_PROBE_TIMEOUT,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired:
        message = f'no answer within {_PROBE_TIMEOUT} s'
        return subprocess.CompletedProcess(command, 1, '', message)
