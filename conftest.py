"""Settings of all tests: no property is judged by the time it took, on whatever machine.

What tests measure by the way is printed at the end, with the machine that it was measured on.
"""

from collections.abc import Callable
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

FIGURES = pytest.StashKey[list[str]]()


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Print a line at the end of the run."""
    return request.config.stash.setdefault(FIGURES, []).append


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print what was measured, and on what."""
    lines = config.stash.get(FIGURES, [])
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
