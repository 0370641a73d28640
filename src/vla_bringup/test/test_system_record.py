"""record:= in the live graph: a bag of the drive, and a robot that does not depend on it."""

from collections.abc import Callable, Iterator
from pathlib import Path
import subprocess
import time

import pytest

from vla_cli.graph import Graph
from vla_ros.domains import own_domain

PATIENCE = 60.0
TOPICS = ('vla/action_chunk', 'safety/decision', 'cmd_vel', 'odom', 'vla/image/front/compressed')

Start = Callable[[Path], Graph]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    graphs = []
    with own_domain() as domain_id:

        def start_graph(folder: Path) -> Graph:
            arguments = {'policy': 'scripted', 'namespace': 'left', 'record': str(folder)}
            graphs.append(Graph(domain_id, tmp_path / 'graph.log', arguments))
            return graphs[-1]

        yield start_graph
        for graph in graphs:
            graph.close()


def until(condition: Callable[[], bool], graph: Graph) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        graph.check()
        assert time.monotonic() < end, graph.output
        time.sleep(0.5)


def info(bag: Path) -> str:
    done = subprocess.run(
        ['vla', 'bag', 'info', str(bag)], capture_output=True, text=True, check=True
    )
    return done.stdout


def counts(told: str) -> dict[str, int]:
    lines = [line.split() for line in told.splitlines() if line.startswith('/')]
    return {name: int(count) for name, count, *_ in lines}


def test_the_drive_is_in_a_bag_in_the_folder(start: Start, tmp_path: Path):
    folder = tmp_path / 'my bags'
    graph = start(folder)
    until(lambda: any(folder.glob('*/*.mcap')), graph)
    (bag,) = folder.iterdir()

    def complete() -> bool:
        found = counts(info(bag))
        return all(found.get(f'/left/{name}', 0) > 10 for name in TOPICS)

    until(complete, graph)
    assert 'did not end in order' in info(bag)
    graph.close()
    told = info(bag)
    assert 'problem' not in told
    assert 'namespace: /left' in told
    assert all(f'parameters/left/{node}.yaml' in told for node in ('gate', 'policy', 'recorder'))


def test_a_folder_that_cannot_be_made_is_named_and_ends_nothing_else(start: Start, tmp_path: Path):
    (tmp_path / 'file').touch()
    graph = start(tmp_path / 'file' / 'bags')
    until(lambda: 'file/bags: Not a directory: expected one for bags' in graph.output, graph)
    until(lambda: 'recorder starts again' in graph.output, graph)
    assert graph.process('gate').is_running()
