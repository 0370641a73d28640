"""What can go wrong in the simulator."""

from vla_core.errors import VlaError


class SimulationError(VlaError):
    """The simulator cannot do what was asked."""
