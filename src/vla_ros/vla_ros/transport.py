"""Keep a process off Fast DDS's shared memory, where a process that is killed can hold up others.

A port of shared memory is guarded by a lock that its owner does not give back when it is killed;
whoever sends to it then waits up to 1 s (Fast DDS 2.14, SharedMemGlobal.hpp, `empty_cv_mutex`).
UDP has no such lock. Only whole camera frames need shared memory: docs/decisions/0008.
"""

from collections.abc import MutableMapping
import os
from pathlib import Path

from ament_index_python.packages import get_package_share_path
from rclpy.utilities import get_rmw_implementation_identifier

_RANGE = 'ROS_AUTOMATIC_DISCOVERY_RANGE'
#: Of older ROS; where it is 1, rcl does not read the range and keeps to this computer.
LOCALHOST_ONLY = 'ROS_LOCALHOST_ONLY'
# The second is the name of the first since Fast DDS 3 (Kilted and later).
_PROFILES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')
#: The largest buffer that the kernel grants a socket, bytes; and two raw frames of 640×480.
_GRANTED, _TWO_FRAMES = Path('/proc/sys/net/core/rmem_max'), 2 * 640 * 480 * 3
_UDP = {'SUBNET': 'fastdds_udp.xml', 'LOCALHOST': 'fastdds_udp_local.xml'}


def keep_off_shared_memory(environment: MutableMapping[str, str] = os.environ) -> None:
    """Choose the profile with UDP alone; takes effect with the first context of this process.

    A profile that a person has set stays, and so does any other middleware.
    """
    shipped = get_package_share_path('vla_bringup') / 'config'
    chosen = [Path(environment[name]) for name in _PROFILES if environment.get(name)]
    by_hand = any(path.parent.resolve() != shipped.resolve() for path in chosen)
    profile = _UDP.get(discovery_range(environment))
    if by_hand or profile is None or 'fastrtps' not in get_rmw_implementation_identifier():
        return
    for name in _PROFILES:
        environment[name] = str(shipped / profile)
    if profile == _UDP['LOCALHOST']:
        # With LOCALHOST rmw_fastrtps adds shared memory to whatever a profile says; the profile
        # itself says the same of discovery.
        environment[_RANGE] = 'SYSTEM_DEFAULT'
        environment.pop(LOCALHOST_ONLY, None)


def udp_holds_frames(granted: Path = _GRANTED) -> bool:
    """Say whether whole camera frames get through UDP here: a socket holds two of them."""
    try:
        return int(granted.read_text()) >= _TWO_FRAMES
    except (OSError, ValueError):
        return False


def discovery_range(environment: MutableMapping[str, str] = os.environ) -> str:
    """Return how far this process is heard: what was asked for, whoever sees to it."""
    if environment.get(LOCALHOST_ONLY) == '1':
        return 'LOCALHOST'
    asked = environment.get(_RANGE) or 'SUBNET'
    profiles = {Path(environment.get(name, '')).name for name in _PROFILES}
    local = asked == 'SYSTEM_DEFAULT' and profiles == {_UDP['LOCALHOST']}
    return 'LOCALHOST' if local else asked
