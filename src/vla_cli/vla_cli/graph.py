"""A graph as a child of this process, started through `vla_up`, alone in its ROS domain."""

from __future__ import annotations

from collections.abc import Mapping
import os
from pathlib import Path
import signal
import subprocess
import sys
import tempfile
from typing import IO

from ament_index_python.packages import get_package_share_path
import psutil
import yaml

from vla_core.errors import VlaError
from vla_ros.domains import ALONE

#: s for a graph to end by itself.
END_PATIENCE = 15.0

# Whoever is killed cannot end a graph, so the kernel interrupts it (PR_SET_PDEATHSIG, SIGINT).
_WITH_PARENT = (
    'import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 2); '
    'os.getppid() == int(sys.argv[1]) or sys.exit(1); '
    'os.execv(sys.executable, [sys.executable, *sys.argv[2:]])'
)
PROFILE = 'FASTRTPS_DEFAULT_PROFILES_FILE'

Parameters = Mapping[str, Mapping[str, object]]


class GraphError(VlaError):
    """A graph did not start, or ended by itself."""


def use_profile() -> None:
    """Let this process carry whole frames as the graph does, unless a profile is set already.

    Fast DDS reads it once, at the first participant of a process. Without it a frame outgrows the
    shared-memory segment and takes 60 ms instead of 1.
    """
    profile = get_package_share_path('vla_bringup') / 'config' / 'fastdds.xml'
    os.environ.setdefault(PROFILE, str(profile))


class Graph:
    """The processes of one launch file."""

    def __init__(
        self,
        domain_id: int,
        log: Path,
        arguments: Mapping[str, str],
        parameters: Parameters | None = None,
        launch_file: str = 'robot.launch.xml',
    ) -> None:
        """Start a launch file.

        Args:
            domain_id: ROS domain.
            log: file that takes the output.
            arguments: launch arguments.
            parameters: node -> parameter -> value, read last by every node.
            launch_file: name or path.
        """
        use_profile()
        self._folder = tempfile.TemporaryDirectory(prefix='vla_graph_')
        arguments = dict(arguments)
        if parameters:
            file = Path(self._folder.name) / 'parameters.yaml'
            content = {
                f'/**/{node}': {'ros__parameters': dict(values)}
                for node, values in parameters.items()
            }
            file.write_text(yaml.safe_dump(content))
            arguments['params_file'] = str(file)
        self._log = log
        self._output: IO[bytes] = log.open('wb')
        self._process = subprocess.Popen(
            [
                *(sys.executable, '-c', _WITH_PARENT, str(os.getpid())),
                *('-m', 'vla_cli.up', '--builtin', launch_file),
                *(f'{name}:={value}' for name, value in arguments.items()),
            ],
            env={
                **os.environ,
                **ALONE,
                'ROS_DOMAIN_ID': str(domain_id),
            },
            stdout=self._output,
            stderr=subprocess.STDOUT,
            # Ctrl-C reaches the graph through close() only, so that it ends in order.
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Process id of `vla_up`, the parent of all nodes."""
        return self._process.pid

    @property
    def output(self) -> str:
        """What the nodes have said so far."""
        return self._log.read_text(errors='replace')

    @property
    def complaint(self) -> str:
        """The last error that a process has ended with; empty: none."""
        found = [line.strip() for line in self.output.splitlines() if ' error: ' in line]
        return found[-1] if found else ''

    def process(self, name: str) -> psutil.Process:
        """Return the process of an executable, e.g. `policy`.

        Raises:
            GraphError: if there is not exactly one.
        """
        found = [
            process
            for process in psutil.Process(self.pid).children(recursive=True)
            if _runs(process, name)
        ]
        if len(found) != 1:
            raise GraphError(f'{len(found)} processes {name!r}: expected 1')
        return found[0]

    def check(self) -> None:
        """Notice an early end.

        Raises:
            GraphError: if the graph has ended; the message holds its last words.
        """
        if self._process.poll() is not None:
            last = ' | '.join(self.output.strip().splitlines()[-5:])
            raise GraphError(f'the graph ended with {self._process.returncode}: {last}')

    def wait(self, timeout: float) -> int:
        """Wait until the graph ends by itself; return its exit status.

        Raises:
            subprocess.TimeoutExpired: if it does not.
        """
        return self._process.wait(timeout)

    def close(self) -> None:
        """End all processes."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(END_PATIENCE)
        except subprocess.TimeoutExpired:
            # Its guardian ends the processes that it leaves behind.
            self._process.kill()
            self._process.wait()
        self._output.close()
        self._folder.cleanup()


def _runs(process: psutil.Process, name: str) -> bool:
    """Say whether a process lives, and is that executable; it may end meanwhile."""
    try:
        lives = process.status() != psutil.STATUS_ZOMBIE
        return lives and any(Path(word).name == name for word in process.cmdline()[:2])
    except psutil.NoSuchProcess:
        return False
