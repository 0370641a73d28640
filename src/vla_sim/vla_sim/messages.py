"""The state of an arena as ROS messages, for the live node and for lock-step.

The odom frame is the arena's frame; wheel odometry drifts in it as it would on a real robot.
"""

from __future__ import annotations

import array
import math

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Pose, Quaternion, Transform, TransformStamped, Vector3
from nav_msgs.msg import Odometry
import numpy as np
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from vla_interfaces.msg import SceneObject, SceneTruth
from vla_sim import robot
from vla_sim.arena import Arena
from vla_sim.urdf import BASE_FRAME, CAMERA_FRAME

ODOM_FRAME = 'odom'

# Optical frames look along z, with x to the right: https://www.ros.org/reps/rep-0103.html
_OPTICAL = Quaternion(x=-0.5, y=0.5, z=-0.5, w=0.5)


def image(picture: np.ndarray, stamp: Time) -> Image:
    """Return the message of a picture, uint8 [H, W, 3] RGB."""
    height, width, channels = picture.shape
    message = Image(
        header=Header(stamp=stamp, frame_id=CAMERA_FRAME),
        height=height,
        width=width,
        encoding='rgb8',
        step=width * channels,
    )
    # Any other type is copied byte by byte by the setter: 60 ms instead of 1.
    message.data = array.array('B', picture.tobytes())
    return message


def camera_info(stamp: Time) -> CameraInfo:
    """Return the ideal pinhole camera of the arena."""
    focal = robot.FOCAL_LENGTH
    # Pixel centres are at whole coordinates, the first at 0 (as in vla_core.preprocess).
    centre_x, centre_y = (robot.IMAGE_WIDTH - 1) / 2, (robot.IMAGE_HEIGHT - 1) / 2
    return CameraInfo(
        header=Header(stamp=stamp, frame_id=CAMERA_FRAME),
        height=robot.IMAGE_HEIGHT,
        width=robot.IMAGE_WIDTH,
        distortion_model='plumb_bob',
        d=[0.0] * 5,
        k=[focal, 0.0, centre_x, 0.0, focal, centre_y, 0.0, 0.0, 1.0],
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[focal, 0.0, centre_x, 0.0, 0.0, focal, centre_y, 0.0, 0.0, 0.0, 1.0, 0.0],
    )


def odometry(arena: Arena, stamp: Time) -> Odometry:
    """Return what the wheels say: pose in the odom frame, velocity of the base."""
    x, y, yaw = arena.odometry
    speed, turn_rate = arena.wheel_velocity
    message = Odometry(header=Header(stamp=stamp, frame_id=ODOM_FRAME), child_frame_id=BASE_FRAME)
    message.pose.pose = _pose(x, y, yaw)
    message.twist.twist.linear.x = speed
    message.twist.twist.angular.z = turn_rate
    return message


def transforms(arena: Arena, stamp: Time) -> TFMessage:
    """Return odom to base_link by the wheels, and base_link to the camera's optical frame."""
    x, y, yaw = arena.odometry
    base = TransformStamped(
        header=Header(stamp=stamp, frame_id=ODOM_FRAME),
        child_frame_id=BASE_FRAME,
        transform=Transform(translation=Vector3(x=x, y=y), rotation=_rotation(yaw)),
    )
    camera = TransformStamped(
        header=Header(stamp=stamp, frame_id=BASE_FRAME),
        child_frame_id=CAMERA_FRAME,
        transform=Transform(
            translation=Vector3(x=robot.CAMERA_FORWARD, z=robot.CAMERA_HEIGHT),
            rotation=_OPTICAL,
        ),
    )
    return TFMessage(transforms=[base, camera])


def truth(arena: Arena, stamp: Time, real_time_factor: float) -> SceneTruth:
    """Return the ground truth, for evaluators and pages only."""
    layout = arena.layout
    objects = [
        SceneObject(
            colour=item.colour,
            shape=item.shape,
            position=Point(x=item.x, y=item.y, z=item.height / 2),
            gap=arena.gap(index),
        )
        for index, item in enumerate(layout.objects)
    ]
    return SceneTruth(
        header=Header(stamp=stamp, frame_id=ODOM_FRAME),
        seed=layout.seed,
        robot=_pose(*arena.pose),
        objects=objects,
        contact=arena.in_contact(),
        real_time_factor=real_time_factor,
    )


def _pose(x: float, y: float, yaw: float) -> Pose:
    return Pose(position=Point(x=x, y=y), orientation=_rotation(yaw))


def _rotation(yaw: float) -> Quaternion:
    return Quaternion(z=math.sin(yaw / 2), w=math.cos(yaw / 2))
