"""Make the workspace usable: `setup` the environment, add the `train` extra, `build` with colcon.

Run through the Makefile. It uses nothing but the standard library, because it runs before anything is installed.
Every refusal is one line: what is wrong, what was found, what to do.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from pathlib import Path
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / '.venv'
PYTHON = VENV / 'bin' / 'python'
LOCKS = ROOT / 'requirements'
LOG = VENV / 'setup.log'
SUPPORTED = ((3, 11), (3, 14))
# A sourced ROS distribution brings rclpy, colcon and the numpy that its messages were compiled for.
ROS_DISTRO = os.environ.get('ROS_DISTRO', '') if 'AMENT_PREFIX_PATH' in os.environ else ''
TORCH_BYTES = {'cpu': '0.2 GB download, 0.8 GB on disk', 'cuda': '3 GB download, 7 GB on disk'}
# Only asked when the configured registry has no CPU build of torch: the public one carries CUDA builds alone.
TORCH_CPU_INDEX = 'https://download.pytorch.org/whl/cpu'
# Any one of these renders without a screen.
RENDERERS = ('libOSMesa.so', 'libEGL_mesa.so', 'libEGL_nvidia.so')
RENDERER_PACKAGES = (
    *('libosmesa6', 'libegl1', 'libgl1', 'libegl-mesa0', 'libgles2', 'libgl1-mesa-dri'),
)
UNREACHABLE = re.compile(r'Retrying \(|Connection|Max retries|timed out|Name or service not known|SSLError')


class BootstrapError(Exception):
    """The workspace cannot be made usable; the message is one line with the remedy."""


def say(text: str) -> None:
    """Print one line of progress at once, also into a pipe."""
    print(text, flush=True)


def main(argv: list[str]) -> int:
    """Run one command; exit code 1 and one line on standard error if it cannot be done."""
    commands = {'setup': setup, 'train': train, 'build': build}
    if len(argv) != 1 or argv[0] not in commands:
        print(f'bootstrap: expected one of {", ".join(commands)}, got {argv}', file=sys.stderr)
        return 2
    # Two of these at once would write the same files: the second waits for the first.
    lock = os.open(ROOT, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        commands[argv[0]]()
    except BootstrapError as error:
        print(f'{argv[0]}: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f'{argv[0]}: interrupted', file=sys.stderr)
        return 130
    finally:
        os.close(lock)
    return 0


# --- setup ------------------------------------------------------------------------------------


def setup() -> None:
    """Create or refresh the environment in .venv; does nothing if it is up to date."""
    require_python()
    require_system()
    lock = LOCKS / ('apt.txt' if ROS_DISTRO else 'wheels.txt')
    stamp = stamp_of(lock, Path(__file__))
    if read_stamp('setup') == stamp:
        say('setup: up to date')
        return
    create_venv()
    install(['--require-hashes', '-r', str(lock)], pinned(lock))
    if not ROS_DISTRO:
        point_cmake_exports_here()
        # colcon warns about an ament prefix without one.
        (VENV / 'local_setup.sh').touch()
    (VENV / 'bin' / 'vla-env').write_text(environment_script())
    write_stamp('setup', stamp)
    say(f'setup: done ({"ROS 2 " + ROS_DISTRO if ROS_DISTRO else "ROS 2 Jazzy wheels"} in .venv)')


def require_python() -> None:
    """Refuse an interpreter that the locks were not resolved for."""
    low, high = SUPPORTED
    if not low <= sys.version_info[:2] <= high:
        raise BootstrapError(
            f'Python {sys.version.split()[0]} ({sys.executable}) is not supported, '
            f'expected {low[0]}.{low[1]} to {high[0]}.{high[1]}; '
            'install one of them and run: make setup PYTHON=python3.11'
        )
    if ':' in str(ROOT):
        raise BootstrapError(f'the path {ROOT} has a colon, which no search path can hold; move it')


def require_system() -> None:
    """Install missing system packages through apt, or say the command that does."""
    needed = []
    if not (shutil.which('g++') or shutil.which('c++')):
        needed.append('g++')
    if not shutil.which('cmake'):
        needed.append('cmake')
    if not shutil.which('make'):
        needed.append('make')
    if not Path(sysconfig.get_path('include'), 'Python.h').is_file():
        needed.append('python{}.{}-dev'.format(*sys.version_info))
    if not ensurepip_works():
        needed.append('python{}.{}-venv'.format(*sys.version_info))
    if needed and not apt_install(needed):
        raise BootstrapError(f'{" and ".join(needed)} missing; run: {apt_command(needed)}')
    if not can_render() and not apt_install(RENDERER_PACKAGES):
        say(
            'setup: no OpenGL library renders without a screen, the simulator needs one; '
            f'run: {apt_command(RENDERER_PACKAGES)}'
        )


def ensurepip_works() -> bool:
    """Tell whether this interpreter can make virtual environments (Debian splits that off)."""
    try:
        import ensurepip  # noqa: F401, PLC0415
    except ImportError:
        return False
    return True


def can_render() -> bool:
    """Tell whether the dynamic linker knows a library that renders without a screen."""
    ldconfig = shutil.which('ldconfig') or shutil.which('ldconfig', path='/sbin:/usr/sbin')
    if ldconfig is None:
        return False
    known = subprocess.run([ldconfig, '-p'], capture_output=True, text=True, check=False).stdout
    return any(name in known for name in RENDERERS)


def apt_command(packages: tuple[str, ...] | list[str]) -> str:
    """Return the command that a person would type."""
    return f'sudo apt-get install -y {" ".join(packages)}'


def apt_install(packages: tuple[str, ...] | list[str]) -> bool:
    """Install Debian packages as root or with a sudo that asks for no password."""
    if shutil.which('apt-get') is None:
        return False
    sudo: list[str] = []
    if os.geteuid() != 0:
        sudo = ['sudo', '-n']
        if not shutil.which('sudo') or subprocess.run([*sudo, 'true'], capture_output=True).returncode:
            return False
    say(f'setup: installing {" ".join(packages)} (apt)')
    for command in (['update', '-qq'], ['install', '-y', '-qq', *packages]):
        done = subprocess.run(
            [*sudo, 'env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', *command],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False,
        )
    return done.returncode == 0


def create_venv() -> None:
    """Make .venv with this interpreter; one made by another interpreter or for another ROS is replaced."""
    maker = f'{sys.version} {sys.base_prefix} {ROS_DISTRO}'
    if read_stamp('maker') == maker:
        return
    if ROS_DISTRO:
        require_rclpy()
    say(f'setup: creating .venv with Python {sys.version.split()[0]}')
    # From inside a virtual environment, venv itself goes back to the base interpreter.
    command = [sys.executable, '-m', 'venv', '--clear', str(VENV)]
    if ROS_DISTRO:
        command.append('--system-site-packages')
    done = subprocess.run(command, capture_output=True, text=True, env=clean_environment(), check=False)
    if done.returncode:
        last = (done.stdout + done.stderr).strip().splitlines()[-1:]
        raise BootstrapError(f'cannot create {VENV}: {" ".join(last)}')
    write_stamp('maker', maker)


def require_rclpy() -> None:
    """Refuse an interpreter that a sourced ROS was not built for."""
    if subprocess.run([sys.executable, '-c', 'import rclpy'], capture_output=True).returncode:
        raise BootstrapError(
            f'ROS 2 {ROS_DISTRO} is sourced, but {sys.executable} cannot import rclpy; '
            'run: make setup PYTHON=/usr/bin/python3'
        )


def pinned(lock: Path) -> int:
    """Count the packages of a lock file that concern this kind of machine."""
    lines = lock.read_text().splitlines()
    foreign = re.compile(r"sys_platform == '(win32|emscripten|darwin)'")
    return sum(bool(re.match(r'\w', line)) and not foreign.search(line) for line in lines)


def install(arguments: list[str], count: int) -> None:
    """Run pip inside .venv and show how far it is; its whole output goes to setup.log."""
    command = [
        *(str(PYTHON), '-m', 'pip', 'install', '--no-input', '--retries', '2'),
        *('--disable-pip-version-check', '--progress-bar', 'off', *arguments),
    ]
    seen, output = 0, []
    say(f'setup: fetching {count} packages')
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=clean_environment()
    ) as pip:
        assert pip.stdout is not None
        for line in pip.stdout:
            output.append(line)
            if line.startswith(('Collecting ', 'Requirement already')):
                seen += 1
                if seen % 20 == 0:
                    say(f'setup: {seen}/{count} packages')
            elif line.startswith('  Downloading ') and ' MB)' in line:
                say(f'setup: {line.strip()}')
            elif line.startswith('Installing collected'):
                say('setup: installing them')
    LOG.write_text(''.join(output))
    if pip.returncode:
        raise BootstrapError(explain_pip(''.join(output)))


def explain_pip(output: str) -> str:
    """Turn pip's output into one line with a remedy."""
    if UNREACHABLE.search(output):
        return (
            'the package registry cannot be reached; check the network and proxy, or name a mirror '
            f'in PIP_INDEX_URL, then run the same command again (details: {LOG})'
        )
    errors = [line for line in output.splitlines() if line.lower().startswith('error')]
    return f'pip failed: {(errors or ["no message"])[-1]} (details: {LOG})'


def point_cmake_exports_here() -> None:
    """Replace include paths of the machine that built the wheels by this interpreter's own."""
    purelib = VENV / 'lib' / 'python{}.{}'.format(*sys.version_info) / 'site-packages'
    numpy_include = purelib / 'numpy' / '_core' / 'include'
    python_include = sysconfig.get_path('include')
    for file in VENV.glob('share/**/*.cmake'):
        text = file.read_text()
        here = re.sub(r'/opt/python/[^;"]*/numpy/_core/include', lambda _: str(numpy_include), text)
        here = re.sub(r'/opt/python/[^;"]*/include/python3[^;"]*', lambda _: python_include, here)
        if here != text:
            file.write_text(here)


def environment_script() -> str:
    """Return the file to source before running anything of the workspace, for sh and bash."""
    template = (LOCKS / 'vla-env.sh').read_text()
    ros = ''
    if ROS_DISTRO:
        prefix = os.environ['AMENT_PREFIX_PATH'].split(':')[-1]
        ros = str(Path(prefix) / 'setup.sh')
    return template.replace('@WORKSPACE@', shlex.quote(str(ROOT))).replace('@ROS_SETUP@', shlex.quote(ros))


# --- train ------------------------------------------------------------------------------------


def train() -> None:
    """Add torch and the rest of the train extra to .venv."""
    setup()
    kind = os.environ.get('TORCH', 'cpu')
    if kind not in TORCH_BYTES:
        raise BootstrapError(f"TORCH is '{kind}', expected one of {', '.join(TORCH_BYTES)}")
    lock, alone = LOCKS / 'train.txt', LOCKS / 'train-alone.txt'
    stamp = stamp_of(lock, alone, Path(__file__)) + kind
    if read_stamp('train') == stamp:
        say('train: up to date')
        return
    torch = re.search(r'^torch==(\S+)', lock.read_text(), re.MULTILINE)
    assert torch is not None
    say(f'train: torch {torch[1]} for {kind}: {TORCH_BYTES[kind]}')
    if kind == 'cpu':
        install_cpu_torch(f'torch=={torch[1]}+cpu')
    install(['-r', str(lock)], pinned(lock))
    install(['--no-deps', '-r', str(alone)], pinned(alone))
    write_stamp('train', stamp)
    say('train: done')


def install_cpu_torch(requirement: str) -> None:
    """Take the CPU build from the configured registry if it is there, else from PyTorch's own."""
    try:
        install([requirement], 1)
    except BootstrapError:
        install(['--extra-index-url', TORCH_CPU_INDEX, requirement], 1)


# --- build ------------------------------------------------------------------------------------


def build() -> None:
    """Build src/ into install/ with colcon; does nothing if no file that colcon reads has changed."""
    if not PYTHON.is_file():
        raise BootstrapError('there is no environment yet; run: make setup')
    stamp = build_inputs()
    if read_stamp('build') == stamp and all_installed():
        say('build: up to date')
        return
    if not (ROOT / 'install' / 'vla_interfaces').is_dir():
        say('build: the first build compiles the messages, which takes about a minute')
    (VENV / 'build.stamp').unlink(missing_ok=True)
    command = [
        *(str(PYTHON), '-m', 'colcon', 'build', '--symlink-install', '--base-paths', *base_paths()),
        *('--metas', 'colcon.meta', '--event-handlers', 'console_cohesion-', 'console_stderr+'),
        *('--cmake-args', '-DPython3_EXECUTABLE=' + str(PYTHON)),
    ]
    if subprocess.run(command, cwd=ROOT, env=build_environment(), check=False).returncode:
        raise BootstrapError(f'colcon failed; its logs are in {ROOT / "log" / "latest_build"}')
    if ' ' in str(ROOT):
        free_scripts_of_spaces()
    write_stamp('build', stamp)


def base_paths() -> list[str]:
    """Return where packages are: the wheels lack tf2_msgs, a ROS installation has it."""
    return ['src'] if ROS_DISTRO else ['src', 'requirements/tf2_msgs']


def build_inputs() -> str:
    """Hash what a build depends on: linked Python modules are not part of it."""
    digest = hashlib.sha256((read_stamp('setup') + str(ROOT)).encode())
    structure = ('package.xml', 'setup.py', 'setup.cfg', 'CMakeLists.txt')
    for top in ('src', 'launch', 'config', 'requirements/tf2_msgs'):
        for directory, below, names in os.walk(ROOT / top):
            below[:] = sorted(name for name in below if name != '__pycache__')
            for name in sorted(names):
                path = Path(directory, name)
                digest.update(str(path.relative_to(ROOT)).encode())
                if name in structure or path.suffix in ('.msg', '.srv', '.action'):
                    digest.update(path.read_bytes())
    return digest.hexdigest()


def all_installed() -> bool:
    """Tell whether every package of src/ has an install folder."""
    packages = [path.parent.name for path in ROOT.glob('src/*/package.xml')]
    return all((ROOT / 'install' / name / 'share' / name).is_dir() for name in packages)


def free_scripts_of_spaces() -> None:
    """Give console scripts a first line that the kernel can read: setuptools quotes a path with spaces there."""
    for pattern in ('install/*/bin/*', 'install/*/lib/*/*'):
        for script in ROOT.glob(pattern):
            if not script.is_file() or script.is_symlink():
                continue
            first, _, rest = script.read_bytes().partition(b'\n')
            if first.startswith(b'#!"'):
                script.write_bytes(b'#!/usr/bin/env python3\n' + rest)


def clean_environment() -> dict[str, str]:
    """Return the environment without what another Python or ROS wheel environment left in it."""
    environment = {k: v for k, v in os.environ.items() if k != '_ROS_WHEELS_BOOTSTRAP_COMPLETE'}
    if not ROS_DISTRO:
        for name in ('PYTHONPATH', 'PYTHONHOME', 'AMENT_PREFIX_PATH', 'CMAKE_PREFIX_PATH', 'LD_LIBRARY_PATH'):
            environment.pop(name, None)
    return environment


def build_environment() -> dict[str, str]:
    """Return the environment in which CMake finds the wheels: .venv is an ament prefix."""
    environment = clean_environment()
    environment['PATH'] = f'{VENV / "bin"}:{environment["PATH"]}'
    if not ROS_DISTRO:
        purelib = VENV / 'lib' / 'python{}.{}'.format(*sys.version_info) / 'site-packages'
        environment.update(
            AMENT_PREFIX_PATH=str(VENV),
            CMAKE_PREFIX_PATH=str(VENV),
            LD_LIBRARY_PATH=str(VENV / 'lib'),
            PYTHONPATH=str(purelib),
        )
    return environment


# --- stamps -----------------------------------------------------------------------------------


def stamp_of(*files: Path) -> str:
    """Hash the given files together with the interpreter and the ROS distribution."""
    digest = hashlib.sha256(f'{sys.version} {sys.base_prefix} {ROS_DISTRO} {ROOT}'.encode())
    for file in (*files, LOCKS / 'vla-env.sh'):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def read_stamp(name: str) -> str:
    """Return what was last written for `name`, empty if nothing was."""
    file = VENV / f'{name}.stamp'
    return file.read_text() if file.is_file() else ''


def write_stamp(name: str, text: str) -> None:
    """Remember that `name` was finished for `text`."""
    (VENV / f'{name}.stamp').write_text(text)


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
