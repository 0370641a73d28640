"""Parameters of the simulator, readable without ROS."""

from dataclasses import dataclass

from vla_core.parameters import parameter


@dataclass(frozen=True)
class SimConfig:
    """Parameters of the node `sim`."""

    seed: int = parameter(
        doc='layout of the start (distribution v1)', default=0, low=0, high=2**31 - 1
    )
    frame_rate: float = parameter(
        doc='wanted camera rate; lowered by itself on a slow machine',
        default=30.0,
        unit='Hz',
        low=1.0,
        high=60.0,
    )
