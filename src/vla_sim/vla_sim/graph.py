"""Start the real graph in lock-step through `vla_up`, and end it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import fcntl
import os
from pathlib import Path
import shutil
import signal
import subprocess
import tempfile
from typing import IO

import yaml

from vla_sim.arena import Arena
from vla_sim.errors import SimulationError
from vla_sim.lockstep import LockstepDriver

#: Domains that simulations take for themselves, apart from the usual 0; above 101 the ports of a
#: domain can collide with those that Linux hands out.
DOMAINS = range(48, 102)
END_PATIENCE = 15.0


@contextmanager
def own_domain() -> Iterator[int]:
    """Give a ROS domain that no other lock-step graph on this computer uses meanwhile.

    Raises:
        SimulationError: if all are taken.
    """
    folder = Path(tempfile.gettempdir()) / f'vla-domains-{os.getuid()}'
    folder.mkdir(exist_ok=True)
    for domain in DOMAINS:
        with (folder / str(domain)).open('w') as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue
            yield domain
            return
    raise SimulationError(f'ROS domains {DOMAINS.start} to {DOMAINS.stop - 1} are all taken')


class Graph:
    """The processes of one lock-step graph."""

    def __init__(
        self, policy: str, domain_id: int, parameters: dict[str, dict[str, object]], log: Path
    ) -> None:
        """Start them.

        Args:
            policy: checkpoint or built-in policy.
            domain_id: ROS domain.
            parameters: node -> parameter -> value, besides the clock.
            log: file that takes their output.

        Raises:
            SimulationError: if `vla_up` is not installed.
        """
        vla_up = shutil.which('vla_up')
        if vla_up is None:
            raise SimulationError('vla_up is not in PATH; expected a built and sourced workspace')
        self._folder = tempfile.TemporaryDirectory(prefix='vla_graph_')
        values = {name: {'clock': 'lockstep'} for name in ('gate', 'camera', 'policy')}
        for name, more in parameters.items():
            values.setdefault(name, {}).update(more)
        file = Path(self._folder.name) / 'lockstep.yaml'
        content = {f'/**/{name}': {'ros__parameters': more} for name, more in values.items()}
        file.write_text(yaml.safe_dump(content))
        self.log = log
        self._output: IO[bytes] = log.open('wb')
        arguments = {
            'robot': 'sim',
            'sim': 'false',
            'policy': policy,
            'use_sim_time': 'true',
            'params_file': str(file),
        }
        self._process = subprocess.Popen(
            [
                *(vla_up, '--builtin', 'robot.launch.xml'),
                *(f'{name}:={value}' for name, value in arguments.items()),
            ],
            env={
                **os.environ,
                'ROS_DOMAIN_ID': str(domain_id),
                'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
            },
            stdout=self._output,
            stderr=subprocess.STDOUT,
            # Ctrl-C reaches the graph through close() only, so that it ends in order.
            start_new_session=True,
        )

    def check(self) -> None:
        """Notice an early end.

        Raises:
            SimulationError: if the graph has ended; the message holds its last words.
        """
        if self._process.poll() is not None:
            last = self.log.read_text(errors='replace').strip().splitlines()[-5:]
            raise SimulationError(
                f'the graph ended with {self._process.returncode}: {" | ".join(last)}'
            )

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


@contextmanager
def lockstep_graph(
    arena: Arena,
    policy: str,
    log: Path,
    parameters: dict[str, dict[str, object]] | None = None,
) -> Iterator[LockstepDriver]:
    """Start a graph in a domain of its own and give its driver once every hop is there.

    Args:
        arena: what is simulated.
        policy: checkpoint or built-in policy.
        log: file that takes the graph's output.
        parameters: node -> parameter -> value.

    Raises:
        SimulationError: if the graph does not come up.
    """
    with own_domain() as domain_id:
        graph = Graph(policy, domain_id, parameters or {}, log)
        try:
            driver = LockstepDriver(arena, domain_id)
            try:
                driver.wait_for_graph(graph.check)
                yield driver
            finally:
                driver.close()
        finally:
            graph.close()
