"""Settings of all tests: no property is judged by the time it took, on whatever machine.

What tests measure by the way is printed at the end, with the machine that it was measured on.
"""

from collections.abc import Callable
from functools import partial
import gc
import os

from hypothesis import HealthCheck, settings
import pytest

# Torch's threads spin at barriers and starve beside any other busy process; read at its import.
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')
os.environ.setdefault('GOMP_SPINCOUNT', '0')

# Every field of a message must have its type: an int in place of a float is sent as garbage.
os.environ.setdefault('ROS_PYTHON_CHECK_FIELDS', '1')

settings.register_profile('untimed', deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile('untimed')

FIGURE = 'figure'

# Packages whose tests start whole graphs; the others' start a node at most.
GRAPHS = ('vla_bringup', 'vla_cli', 'vla_replay')

# Long files of these that start none: run in turn with graphs, they would only lengthen the whole.
NO_GRAPHS = (
    'test_bag.py',
    'test_bag_tools.py',
    'test_bench_compare.py',
    'test_dataset.py',
    'test_foreign_bags.py',
    'test_recording.py',
    'test_source_safety.py',
)


@pytest.fixture
def figures(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Print a line at the end of the run."""
    return partial(record_property, FIGURE)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let `pytest -n 2` (`make test`) run one graph at a time, and file by file beside it."""
    for item in items:
        package = item.path.parent.parent.name
        graph = package in GRAPHS and item.path.name not in NO_GRAPHS
        group = 'graph' if graph else f'{package}/{item.path.name}'
        item.add_marker(pytest.mark.xdist_group(group))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was measured, and on what."""
    reports = (*terminalreporter.getreports('passed'), *terminalreporter.getreports('failed'))
    lines = [
        value
        for report in reports
        if report.when == 'call'
        for name, value in report.user_properties
        if name == FIGURE
    ]
    if lines:
        from vla_core.machine import describe

        terminalreporter.section('figures')
        facts = (f'{name} {value}' for name, value in describe().items())
        terminalreporter.write_line('; '.join(facts))
        for line in lines:
            terminalreporter.write_line(line)


def pytest_collection_finish() -> None:
    """Leave all that was imported out of later collections: it lives to the end.

    Half a second of each of them, and there are hundreds (below).
    """
    gc.collect()
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_fixture_post_finalizer(fixturedef: pytest.FixtureDef) -> None:
    """Let go of a context's participant now.

    Nodes lie in cycles, so it would live beside those of later tests until the collector comes, in
    whatever thread: they would find it, and count it among the 32 that a machine may have.
    """
    if fixturedef.argname in ('context', 'bench', 'robot'):
        gc.collect()
