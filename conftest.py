"""Settings of all tests: no property is judged by the time it took, on whatever machine."""

from hypothesis import HealthCheck, settings

settings.register_profile('untimed', deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile('untimed')
