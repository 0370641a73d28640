"""Settings of all tests: no property is judged by the time it took, on whatever machine."""

import os

from hypothesis import HealthCheck, settings

# Torch's threads spin at barriers and starve beside any other busy process; read at its import.
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')
os.environ.setdefault('GOMP_SPINCOUNT', '0')

settings.register_profile('untimed', deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile('untimed')
