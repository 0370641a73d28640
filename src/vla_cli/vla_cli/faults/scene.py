"""Where faults are played: a graph, the simulated base beside it, and who is between them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
import itertools
from pathlib import Path
from tempfile import TemporaryDirectory

from diagnostic_msgs.msg import DiagnosticArray
import psutil

from vla_cli.bench.load import class_of
from vla_cli.faults import catalogue
from vla_cli.faults.intruder import Intruder
from vla_cli.faults.relay import Relay
from vla_cli.faults.robot_file import Subject
from vla_cli.graph import Graph
from vla_cli.live import LiveGraph
from vla_core.gate.causes import State
from vla_core.gate.limits import Limits
from vla_core.robot import RobotConfig
from vla_ros.domains import own_domain

BASE = Path(__file__).with_name('base.launch.xml')
_NUMBERS = itertools.count(1)


@dataclass
class Scene:
    """A running graph that somebody is about to break.

    Attributes:
        live: the graph, watched.
        base: the simulated robot.
        intruder: between the two.
        relay: the same for frames.
        robot: as the robot file says.
        policy: that was launched.
        bags: folder of the recorder, where the graph has one.
        trouble: what an injector found that should not be so; emptied before each repetition.
        black_box: values that the monitor reports of its files.
    """

    live: LiveGraph
    base: Graph
    intruder: Intruder
    relay: Relay
    robot: RobotConfig
    policy: str
    bags: Path
    trouble: list[str] = field(default_factory=list)
    black_box: dict[str, str] = field(default_factory=dict)

    @property
    def limits(self) -> Limits:
        """Limits of the robot."""
        return Limits.of(self.robot)

    def process(self, name: str) -> psutil.Process:
        """Return the process of an executable, `base` for the simulator."""
        return self.base.process('sim') if name == 'base' else self.live.process(name)

    def on_diagnostics(self, msg: DiagnosticArray) -> None:
        """Keep what the monitor says of the black box."""
        for status in msg.status:
            if status.name.endswith('/black_box'):
                self.black_box |= {pair.key: pair.value for pair in status.values}

    def black_box_counts(self) -> tuple[int, int]:
        """Return how many files were written, and how many attempts failed."""
        return int(self.black_box.get('written', 0)), int(self.black_box.get('failed', 0))

    def recorded(self) -> int:
        """Return how many bytes the recorder has written."""
        return sum(file.stat().st_size for file in self.bags.glob('*/*.mcap'))

    def gate_class(self) -> str:
        """Return how the system schedules the gate."""
        return class_of(self.live.process('gate').pid)


@contextmanager
def scene(graph: catalogue.Graph, subject: Subject, policy: str, folder: Path) -> Iterator[Scene]:
    """Start everything, in a domain of its own, and end it.

    Args:
        graph: which one.
        subject: robot.
        policy: that drives where the graph does not ask for another.
        folder: for what the processes say, and for black boxes.

    Raises:
        GraphError: if the gate does not leave INIT.
    """
    sim_time = graph is catalogue.Graph.SIM_TIME
    policy = 'faulty' if graph is catalogue.Graph.FAULTY else policy
    arguments = {
        'robot': str(subject.file.resolve()),
        'sim': 'false',
        'policy': policy,
        'policy_respawns': '-1',
        'use_sim_time': str(sim_time).lower(),
    }
    parameters = {'monitor': {'black_box_folder': str((folder / 'black_box').resolve())}}
    name = f'{next(_NUMBERS):02}_{graph.name.lower()}'
    with own_domain() as domain_id, TemporaryDirectory(prefix='bags_', dir=folder) as bags:
        if graph is catalogue.Graph.RECORDED:
            arguments['record'] = str(Path(bags).resolve())
        nodes = Graph(domain_id, folder / f'{name}_graph.log', arguments, parameters)
        base = Graph(domain_id, folder / f'{name}_base.log', {}, launch_file=str(BASE))
        with (
            closing(base),
            closing(nodes),
            closing(Relay(domain_id)) as relay,
            closing(LiveGraph(nodes, domain_id)) as live,
            closing(Intruder(live.node.context, subject.robot, sim_time)) as intruder,
        ):
            found = Scene(live, base, intruder, relay, subject.robot, policy, Path(bags))
            live.node.create_subscription(
                DiagnosticArray, '/diagnostics', found.on_diagnostics, 10
            )
            live.until(lambda: live.decision.state == State.STOPPED, 'gate STOPPED')
            yield found
