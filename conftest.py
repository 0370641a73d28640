"""Settings of all tests: no property is judged by the time it took, on whatever machine."""

import gc
import os

from hypothesis import HealthCheck, settings
import pytest

# Torch's threads spin at barriers and starve beside any other busy process; read at its import.
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')
os.environ.setdefault('GOMP_SPINCOUNT', '0')

settings.register_profile('untimed', deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile('untimed')


@pytest.hookimpl(trylast=True)
def pytest_fixture_post_finalizer(fixturedef: pytest.FixtureDef) -> None:
    """Let go of a context's participant now.

    Nodes lie in cycles, so it would live beside those of later tests until the collector comes, in
    whatever thread: they would find it, and count it among the 32 that a machine may have.
    """
    if fixturedef.argname in ('context', 'bench', 'robot'):
        gc.collect()
