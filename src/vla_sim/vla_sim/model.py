"""The MuJoCo model: written once, recoloured and rearranged for every layout."""

from __future__ import annotations

import io
import math

import numpy as np
from PIL import Image

from vla_sim import robot
from vla_sim.graphics import mujoco
from vla_sim.layout import (
    ARENA_HALF_WIDTH,
    FLOOR_TEXTURES,
    MAX_OBJECTS,
    SIZE_JITTER,
    WALL_TEXTURES,
)

TIMESTEP = 0.005
WALL_HEIGHT = 0.8
_WALL_THICKNESS = 0.1
_TEXTURE_SIZE = 256
# Larger than any object: MuJoCo's bounding volumes are computed from it once.
_LARGEST = 0.30 * (1 + SIZE_JITTER)


def build() -> mujoco.MjModel:
    """Compile arena, robot and the slots for objects."""
    return mujoco.MjModel.from_xml_string(_xml(), _textures())


def _xml() -> str:
    slots = ''.join(
        f'<body name="object{index}" mocap="true" pos="{2 * index} 0 -20">'
        f'<geom name="object{index}" type="sphere" size="{_LARGEST}"'
        ' material="object"/></body>'
        for index in range(MAX_OBJECTS)
    )
    materials = ''.join(
        f'<texture name="{part}_{name}" type="2d" file="{part}_{name}.png"/>'
        f'<material name="{part}_{name}" texture="{part}_{name}" texrepeat="{repeat}"'
        f' texuniform="true" specular="0" shininess="0"/>'
        for part, names, repeat in (
            ('floor', FLOOR_TEXTURES, '1 1'),
            ('wall', WALL_TEXTURES, '0.5 0.5'),
        )
        for name in names
    )
    offset = ARENA_HALF_WIDTH + _WALL_THICKNESS / 2
    length = ARENA_HALF_WIDTH + _WALL_THICKNESS
    walls = ''.join(
        f'<geom name="wall{index}" type="box" material="wall_plain"'
        f' pos="{offset * math.cos(angle):.6f} {offset * math.sin(angle):.6f} {WALL_HEIGHT / 2}"'
        f' euler="0 0 {angle:.9f}" size="{_WALL_THICKNESS / 2} {length} {WALL_HEIGHT / 2}"/>'
        for index, angle in enumerate(np.arange(4) * math.pi / 2)
    )
    wheels = ''.join(
        f'<body name="{side}_wheel" pos="0 {y} {robot.WHEEL_RADIUS}">'
        f'<joint name="{side}_wheel" type="hinge" axis="0 1 0" armature="0.01"/>'
        # A sphere touches the floor in one point; a cylinder would scrub in turns.
        f'<geom type="sphere" size="{robot.WHEEL_RADIUS}" mass="0.05" rgba="0 0 0 0"'
        ' friction="1.2 0.005 0.0001" contype="2" conaffinity="2"/>'
        f'<geom type="cylinder" size="{robot.WHEEL_RADIUS} {robot.WHEEL_WIDTH / 2}"'
        ' euler="1.570796 0 0" rgba="0.1 0.1 0.1 1" mass="0" contype="0" conaffinity="0"/>'
        '</body>'
        for side, y in (
            ('left', robot.WHEEL_SEPARATION / 2),
            ('right', -robot.WHEEL_SEPARATION / 2),
        )
    )
    chassis_z = robot.CHASSIS_CLEARANCE + robot.CHASSIS_HEIGHT / 2
    return f"""
<mujoco model="arena">
  <compiler angle="radian"/>
  <option timestep="{TIMESTEP}" integrator="implicitfast" cone="elliptic" impratio="10"/>
  <visual>
    <global offwidth="{robot.IMAGE_WIDTH}" offheight="{robot.IMAGE_HEIGHT}"/>
    <quality shadowsize="0" offsamples="0"/>
    <headlight ambient="0.4 0.4 0.4" diffuse="0 0 0" specular="0 0 0"/>
    <map znear="0.005" zfar="20"/>
  </visual>
  <asset>
    <texture name="sky" type="skybox" builtin="gradient" rgb1="0.80 0.84 0.88"
      rgb2="0.70 0.72 0.75" width="64" height="384"/>
    <material name="object" specular="0.1" shininess="0.2"/>
    {materials}
  </asset>
  <worldbody>
    <light name="sun" type="directional" pos="0 0 4" dir="0 0 -1" castshadow="false"
      ambient="0 0 0" specular="0.1 0.1 0.1"/>
    <geom name="floor" type="plane" material="floor_plain" contype="3" conaffinity="3"
      size="{length} {length} 0.1"/>
    {walls}
    {slots}
    <!-- The missing roll and pitch joints keep the robot level, as casters would. -->
    <body name="base_link">
      <joint name="x" type="slide" axis="1 0 0"/>
      <joint name="y" type="slide" axis="0 1 0"/>
      <joint name="z" type="slide" axis="0 0 1"/>
      <joint name="yaw" type="hinge" axis="0 0 1"/>
      <geom name="chassis" type="cylinder" pos="0 0 {chassis_z}" mass="{robot.MASS}"
        size="{robot.FOOTPRINT_RADIUS} {robot.CHASSIS_HEIGHT / 2}" rgba="0.2 0.2 0.22 1"
        friction="0.3 0.005 0.0001"/>
      <camera name="camera" pos="{robot.CAMERA_FORWARD} 0 {robot.CAMERA_HEIGHT}"
        xyaxes="0 -1 0 0 0 1" fovy="{math.degrees(robot.VERTICAL_FOV):.9f}"/>
      {wheels}
    </body>
  </worldbody>
  <actuator>
    <velocity joint="left_wheel" kv="1.5"/>
    <velocity joint="right_wheel" kv="1.5"/>
  </actuator>
</mujoco>"""


def _textures() -> dict[str, bytes]:
    """Grey patterns to be tinted by the layout, as PNG files in memory."""
    random = np.random.Generator(np.random.PCG64(0)).random
    size = _TEXTURE_SIZE
    row, column = np.mgrid[0:size, 0:size]
    coarse = np.kron(random((size // 8, size // 8)), np.ones((8, 8)))
    patterns = {
        'plain': np.full((size, size), 0.95),
        'checker': np.where((row // (size // 2) + column // (size // 2)) % 2, 0.78, 1.0),
        'panel': np.where((column % (size // 2)) < 6, 0.65, 0.95 + 0.0 * row),
        'speckle': 0.85 + 0.15 * coarse,
    }
    return {
        f'{part}_{name}.png': _png(patterns[name])
        for part, names in (('floor', FLOOR_TEXTURES), ('wall', WALL_TEXTURES))
        for name in names
    }


def _png(pattern: np.ndarray) -> bytes:
    stream = io.BytesIO()
    grey = np.rint(255 * pattern).astype(np.uint8)
    Image.fromarray(np.stack([grey] * 3, axis=-1)).save(stream, 'PNG')
    return stream.getvalue()
