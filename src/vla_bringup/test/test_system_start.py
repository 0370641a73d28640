"""What is wrong in a file is said at the start, by name, and nothing is left behind."""

from collections.abc import Iterator
from pathlib import Path
import time

import psutil
import pytest

from vla_cli.graph import Graph
from vla_ros.domains import own_domain

PATIENCE = 60.0
OTHERS = ('camera', 'policy', 'monitor', 'sim')


@pytest.fixture
def domain_id() -> Iterator[int]:
    with own_domain() as domain_id:
        yield domain_id


def test_gate_with_an_unknown_key_ends_the_start_and_names_it(domain_id: int, tmp_path: Path):
    parameters = {'gate': {'max_sped': 1.0}}
    graph = Graph(domain_id, tmp_path / 'graph.log', {'policy': 'hold'}, parameters)
    try:
        assert graph.wait(PATIENCE) != 0
        assert "unknown parameter 'max_sped'" in graph.output
    finally:
        graph.close()


def test_every_other_node_names_its_unknown_key(domain_id: int, tmp_path: Path):
    parameters = {node: {f'{node}_typo': 1.0} for node in OTHERS}
    graph = Graph(domain_id, tmp_path / 'graph.log', {'policy': 'hold'}, parameters)
    processes = []
    try:
        end = time.monotonic() + PATIENCE
        missing = set(OTHERS)
        while missing and time.monotonic() < end:
            graph.check()
            processes = psutil.Process(graph.pid).children(recursive=True)
            missing = {n for n in missing if f"unknown parameter '{n}_typo'" not in graph.output}
            time.sleep(0.2)
        assert not missing, graph.output
    finally:
        graph.close()
    assert not psutil.wait_procs(processes, 5.0)[1]


@pytest.mark.parametrize(
    ('argument', 'value', 'said'),
    [
        ('robot', 'no_such_robot', "robot 'no_such_robot'"),
        ('robto', 'sim', 'robto'),
    ],
)
def test_wrong_argument_ends_the_start_and_is_named(
    domain_id: int, tmp_path: Path, argument: str, value: str, said: str
):
    graph = Graph(domain_id, tmp_path / 'graph.log', {'policy': 'hold', argument: value})
    try:
        assert graph.wait(PATIENCE) != 0
        assert said in graph.output
    finally:
        graph.close()
