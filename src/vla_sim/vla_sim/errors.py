"""What can go wrong in the simulator."""


class SimulationError(RuntimeError):
    """The simulator cannot do what was asked."""
