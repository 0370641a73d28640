"""What the gate's process asks of the operating system and of Python, to be on time."""

from collections.abc import Callable
from contextlib import suppress
import gc
import os
from pathlib import Path

from rclpy.node import Node

from vla_core.robot import RobotConfig
from vla_ros.clock import STEADY
from vla_ros.transport import discovery_range

FIFO_PRIORITY = 10
NICE = -15
COLLECT_PERIOD = 1.0
#: Linux shares the cores out among sessions first: within one of them a nice value means nothing
#: to the processes of the others.
AUTOGROUP = Path('/proc/self/autogroup')


def raise_priority() -> str:
    """Ask for real-time scheduling, else for a better nice value; threads made later inherit it.

    Returns:
        A warning if neither was granted; empty otherwise.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(FIFO_PRIORITY))
    except OSError:
        try:
            os.setpriority(os.PRIO_PROCESS, 0, NICE)
        except OSError:
            return (
                f'scheduling: neither SCHED_FIFO {FIFO_PRIORITY} nor nice {NICE} was granted: the '
                'gate may be late on a busy machine'
            )
        with suppress(OSError):
            AUTOGROUP.write_text(str(NICE))
    return ''


def discovery_warning(robot: RobotConfig) -> str:
    """Compare how far this process is heard with what the robot file wants; empty: equal."""
    found = discovery_range()
    if found == robot.discovery:
        return ''
    return (
        f'discovery reaches {found}: the robot file expects {robot.discovery} '
        '(ROS_AUTOMATIC_DISCOVERY_RANGE, ROS_LOCALHOST_ONLY)'
    )


def collect_only_when(node: Node, resting: Callable[[], bool]) -> None:
    """Freeze what exists and let Python's collector run only while `resting()`."""
    gc.collect()
    gc.freeze()
    gc.disable()

    def collect() -> None:
        if resting():
            gc.collect()

    node.create_timer(COLLECT_PERIOD, collect, clock=STEADY)
