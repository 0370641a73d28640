"""Parameters of the recorder."""

from dataclasses import dataclass

from vla_core.parameters import parameter

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class RecorderConfig:
    """What is recorded, where, and within which bounds."""

    folder: str = parameter(
        default='', doc="where bags go; empty: the folder bags in ROS's log folder"
    )
    name: str = parameter(default='', doc='of the bag; empty: the date and time of its beginning')
    topics: str = parameter(
        default='', doc='names, separated by blanks, * and ? as in file names; empty: all'
    )
    exclude: str = parameter(default='', doc='topics that are left out, written alike')
    images: str = parameter(
        default='jpeg', choices=('jpeg', 'raw'), doc='how sensor_msgs/Image topics are kept'
    )
    keep_raw: str = parameter(
        default='', doc='image topics that are kept raw all the same, written alike'
    )
    jpeg_quality: int = parameter(default=90, low=1, high=95, doc='of pictures')
    mode: str = parameter(
        default='continuous',
        choices=('continuous', 'ring'),
        doc='write everything, or the last seconds when something happens',
    )
    queue_mb: int = parameter(
        default=128, low=1, high=10_000, unit='MB', doc='memory of what waits for the disk'
    )
    split_mb: int = parameter(
        default=1000, low=1, high=1_000_000, unit='MB', doc='size at which a next file begins'
    )
    split_seconds: float = parameter(
        default=3600.0, low=1.0, high=1e6, unit='s', doc='after which a next file begins'
    )
    reserve_mb: int = parameter(
        default=500, low=1, high=1_000_000, unit='MB', doc='that stay free on the disk'
    )
    ring_seconds: float = parameter(
        default=30.0, low=1.0, high=3600.0, unit='s', doc='kept before a trigger'
    )
    ring_mb: int = parameter(
        default=512, low=1, high=100_000, unit='MB', doc='memory of the ring; the oldest gives way'
    )
    after_seconds: float = parameter(
        default=2.0, low=0.0, high=600.0, unit='s', doc='that follow a trigger into its bag'
    )
    on_estop: bool = parameter(default=True, doc='an emergency stop triggers')
    on_warn: bool = parameter(default=False, doc='a message of level WARN or above triggers')
