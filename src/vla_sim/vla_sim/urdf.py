"""The robot as URDF, from the same numbers as its physics."""

import math

from vla_sim import robot

BASE_FRAME = 'base_link'
CAMERA_FRAME = 'camera_color_optical_frame'

# The optical frame looks along z, with x to the right.
_OPTICAL_RPY = f'{-math.pi / 2:.9f} 0 {-math.pi / 2:.9f}'


def robot_description() -> str:
    """Return the URDF; base_link lies on the floor, under the middle of the axle."""
    chassis_z = robot.CHASSIS_CLEARANCE + robot.CHASSIS_HEIGHT / 2
    chassis = (
        f'<origin xyz="0 0 {chassis_z}"/><geometry>'
        f'<cylinder radius="{robot.FOOTPRINT_RADIUS}" length="{robot.CHASSIS_HEIGHT}"/></geometry>'
    )
    return f"""<?xml version="1.0"?>
<robot name="vla_sim">
  <link name="{BASE_FRAME}">
    <visual>{chassis}</visual>
    <collision>{chassis}</collision>
  </link>
  {_wheel('left', robot.WHEEL_SEPARATION / 2)}
  {_wheel('right', -robot.WHEEL_SEPARATION / 2)}
  <link name="{CAMERA_FRAME}"/>
  <joint name="camera" type="fixed">
    <parent link="{BASE_FRAME}"/>
    <child link="{CAMERA_FRAME}"/>
    <origin xyz="{robot.CAMERA_FORWARD} 0 {robot.CAMERA_HEIGHT}" rpy="{_OPTICAL_RPY}"/>
  </joint>
</robot>
"""


def _wheel(side: str, y: float) -> str:
    """Return link and joint of a wheel; fixed, because nothing publishes its angle."""
    return f"""<link name="{side}_wheel">
    <visual><origin rpy="{math.pi / 2:.9f} 0 0"/><geometry>
      <cylinder radius="{robot.WHEEL_RADIUS}" length="{robot.WHEEL_WIDTH}"/>
    </geometry></visual>
  </link>
  <joint name="{side}_wheel" type="fixed">
    <parent link="{BASE_FRAME}"/>
    <child link="{side}_wheel"/>
    <origin xyz="0 {y} {robot.WHEEL_RADIUS}"/>
  </joint>"""
