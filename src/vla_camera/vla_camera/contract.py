"""What the checkpoint wants to see, and what the robot file allows; no model is loaded."""

from vla_core.camera import CameraConfig
from vla_core.errors import ConfigError
from vla_core.robot import load_robot, RobotConfig
from vla_core.types import CameraSlot
from vla_ros.files import find_spec, robot_path


def find_slot(config: CameraConfig) -> CameraSlot:
    """Return the camera slot of the checkpoint that the node fills.

    Raises:
        ConfigError: if the checkpoint has no such slot; the message lists those that it has.
        CheckpointError: if the folder does not match its manifest.
    """
    spec = find_spec(config.checkpoint)
    for slot in spec.cameras:
        if slot.name == config.slot:
            return slot
    known = [slot.name for slot in spec.cameras]
    raise ConfigError(f'slot {config.slot!r} of {spec.model_id}: expected one of {known}')


def find_robot(config: CameraConfig) -> RobotConfig:
    """Return the robot file.

    Raises:
        ConfigError: if it is missing or wrong, or a real robot is to run in lock-step.
    """
    robot = load_robot(robot_path(config.robot))
    robot.check_clock(config.clock)
    return robot
