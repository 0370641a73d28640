"""The environment in .venv: create it, install the locked packages, make the ROS wheels usable."""

from __future__ import annotations

import os
from pathlib import Path
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig

from system import require_place, require_system
from workspace import (
    ASIDE,
    BootstrapError,
    clean_environment,
    interpreter,
    PYTHON,
    read_stamp,
    REQUIREMENTS,
    ROOT,
    ROS_DISTRO,
    same_interpreter,
    say,
    SITE_PACKAGES,
    stamp_of,
    VENV,
    write_stamp,
)

LOG = VENV / 'setup.log'
TORCH_SIZES = {'cpu': '0.2 GB to download, 0.8 GB on disk', 'cuda': '3 GB to download, 7 on disk'}
UNREACHABLE = re.compile(
    r'Retrying \(|Max retries|[Cc]onnection|timed out|Name or service not known|SSLError'
)
FOREIGN = re.compile(r"sys_platform == '(win32|emscripten|darwin)'")


def setup() -> None:
    """Create or refresh the environment in .venv; does nothing if it is up to date."""
    require_place()
    require_system()
    settle()
    lock = REQUIREMENTS / ('apt.txt' if ROS_DISTRO else 'wheels.txt')
    stamp = stamp_of(lock, REQUIREMENTS / 'vla-env.sh', Path(__file__))
    if read_stamp('setup') == stamp:
        say('setup: up to date')
        return
    try:
        create_venv()
        fill_venv(lock)
        write_stamp('setup', stamp)
    finally:
        settle()
    source = f'ROS 2 {ROS_DISTRO} of this machine' if ROS_DISTRO else 'ROS 2 Jazzy from wheels'
    say(f'setup: done, {source}; use it with: . .venv/bin/vla-env')


def fill_venv(lock: Path) -> None:
    """Install the lock into .venv and write what makes it an environment of this workspace."""
    # The lock is complete. A pip before 23.3 that resolves it again takes the newest release for a
    # requirement with an extra (coverage[toml]), and refuses that one's hash.
    install('setup', ['--require-hashes', '--no-deps', '-r', str(lock)], pinned(lock))
    if not ROS_DISTRO:
        point_cmake_exports_here()
        # Without one colcon warns about an ament prefix that has none.
        (VENV / 'local_setup.sh').touch()
    (VENV / 'bin' / 'vla-env').write_text(environment_script())


def train() -> None:
    """Add torch and the rest of the train extra to .venv."""
    setup()
    kind = os.environ.get('TORCH') or 'cpu'
    if kind not in TORCH_SIZES:
        raise BootstrapError(f"TORCH is '{kind}', expected one of: {', '.join(TORCH_SIZES)}")
    lock, alone = REQUIREMENTS / 'train.txt', REQUIREMENTS / 'train-alone.txt'
    stamp = f'{kind} {stamp_of(lock, alone)}'
    if read_stamp('train') == stamp:
        say('train: up to date')
        return
    version = re.findall(r'^torch==(\S+)', lock.read_text(), re.MULTILINE)[0]
    say(f'train: torch {version} for {kind}: {TORCH_SIZES[kind]}')
    if kind == 'cpu':
        install_cpu_torch(f'torch=={version}+cpu')
    install('train', ['-r', str(lock)], pinned(lock))
    install('train', ['--require-hashes', '--no-deps', '-r', str(alone)], pinned(alone))
    write_stamp('train', stamp)
    say('train: done')


def optimise() -> None:
    """Add the runtimes that an optimised policy may run in to .venv; needs no torch."""
    setup()
    install_alone('optimise')


def edge() -> None:
    """Add ExecuTorch to .venv, and torch, which exports for it, where there is none."""
    if read_stamp('train'):
        setup()
    else:
        train()
    install_alone('edge')


def mutants() -> None:
    """Add what changes the gate's code in small ways to .venv."""
    setup()
    install_alone('mutants')


def install_alone(step: str) -> None:
    """Install the complete lock of this name, unless that was done."""
    lock = REQUIREMENTS / f'{step}.txt'
    stamp = stamp_of(lock)
    if read_stamp(step) == stamp:
        say(f'{step}: up to date')
        return
    install(step, ['--require-hashes', '--no-deps', '-r', str(lock)], pinned(lock))
    write_stamp(step, stamp)
    say(f'{step}: done')


def install_cpu_torch(requirement: str) -> None:
    """Take the CPU build from TORCH_INDEX or the configured registry, never a CUDA build."""
    index = os.environ.get('TORCH_INDEX')
    try:
        install('train', [*(['--extra-index-url', index] if index else []), requirement], 10)
    except BootstrapError as error:
        raise BootstrapError(
            f"{requirement} is not to be had ({error}); PyTorch's install page names an index "
            'with CPU builds: make setup-train TORCH_INDEX=URL; or: make setup-train TORCH=cuda'
        ) from error


def create_venv() -> None:
    """Make .venv; one that another interpreter made is put aside, for `settle` to judge."""
    origin = ROS_DISTRO or 'wheels'
    if read_stamp('origin') not in ('', origin):
        raise BootstrapError(
            f'.venv was made for ROS from {read_stamp("origin")}, this shell has {origin}; '
            'run it in a shell like the one before, or remove .venv to change over'
        )
    if same_interpreter(read_stamp('interpreter')):
        return
    say(f'setup: creating .venv with Python {sys.version.split()[0]}')
    # A link to another disk is cleared: only its name could be put aside.
    if read_stamp('setup') and not VENV.is_symlink():
        VENV.rename(ASIDE)
    # The base interpreter: sys.executable may lie in what was put aside.
    command = [sys._base_executable, '-m', 'venv', '--clear', str(VENV)]
    if ROS_DISTRO:
        command.append('--system-site-packages')
    done = subprocess.run(
        command, capture_output=True, text=True, env=clean_environment(), check=False
    )
    if done.returncode:
        last = (done.stdout + done.stderr).strip().splitlines()[-1:]
        raise BootstrapError(f'cannot create {VENV}: {"".join(last)}')
    write_stamp('interpreter', interpreter())
    write_stamp('origin', origin)


def settle() -> None:
    """Remove the environment that was put aside if the new one is complete, else put it back."""
    if not ASIDE.is_dir():
        return
    if read_stamp('setup'):
        shutil.rmtree(ASIDE)
        return
    if VENV.is_dir():
        if LOG.is_file():
            LOG.replace(ASIDE / LOG.name)
        shutil.rmtree(VENV)
    ASIDE.rename(VENV)
    say('setup: the .venv from before is back')


def pinned(lock: Path) -> int:
    """Count the packages of a lock file that concern this kind of machine."""
    lines = lock.read_text().splitlines()
    return sum(bool(re.match(r'\w', line)) and not FOREIGN.search(line) for line in lines)


def install(step: str, arguments: list[str], count: int) -> None:
    """Run pip inside .venv and show how far it is; its whole output goes to setup.log."""
    say(f'{step}: fetching {count} packages')
    command = [str(PYTHON), '-m', 'pip', 'install', '--no-input', '--disable-pip-version-check']
    command += ['--retries', '2', '--progress-bar', 'off', *arguments]
    seen, output = 0, []
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=clean_environment(),
    ) as pip:
        for line in pip.stdout or ():
            output.append(line)
            if line.startswith(('Collecting ', 'Requirement already')):
                seen += 1
                if seen % 25 == 0:
                    say(f'{step}: {seen} of {count}')
            elif re.search(r'Downloading .*\((\d{2,}\.\d MB|.* GB)\)', line):
                say(f'{step}: {line.strip()}')
            elif line.startswith('Installing collected'):
                say(f'{step}: installing them, the longest step')
    LOG.write_text(''.join(output))
    if pip.returncode:
        raise BootstrapError(explain(''.join(output)))


def explain(output: str) -> str:
    """Turn what pip wrote into one line with a remedy."""
    if UNREACHABLE.search(output):
        return (
            'the package registry cannot be reached; check network and proxy, or name a mirror in '
            f'PIP_INDEX_URL, then run the same command again (details: {LOG})'
        )
    errors = [line for line in output.splitlines() if line.lower().startswith('error')]
    return f'pip failed: {(errors or ["no message"])[-1]} (details: {LOG})'


def point_cmake_exports_here() -> None:
    """Replace include paths of the machine that built the wheels by those of this one."""
    numpy_include = str(SITE_PACKAGES / 'numpy' / '_core' / 'include')
    python_include = sysconfig.get_path('include')
    for file in VENV.glob('share/**/*.cmake'):
        text = file.read_text()
        here = re.sub(r'/opt/python/[^;"]*/numpy/_core/include', lambda _: numpy_include, text)
        here = re.sub(r'/opt/python/[^;"]*/include/python3[^;"]*', lambda _: python_include, here)
        if here != text:
            file.write_text(here)


def environment_script() -> str:
    """Return the file to source before running anything of the workspace, for sh and bash."""
    ros = ''
    if ROS_DISTRO:
        prefix = os.environ.get('AMENT_PREFIX_PATH', f'/opt/ros/{ROS_DISTRO}').split(':')[-1]
        ros = str(Path(prefix, 'setup.sh'))
    text = (REQUIREMENTS / 'vla-env.sh').read_text()
    return text.replace('@WORKSPACE@', shlex.quote(str(ROOT))).replace('@ROS@', shlex.quote(ros))
