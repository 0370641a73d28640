"""A robot in an arena: one compiled model, moved and recoloured for every layout."""

from __future__ import annotations

import math

import numpy as np

from vla_sim import robot
from vla_sim.errors import SimulationError
from vla_sim.geometry import BALL, BOX, CYLINDER, Plan
from vla_sim.graphics import mujoco, renderer
from vla_sim.layout import COLOURS, Layout, MAX_OBJECTS
from vla_sim.model import build, TIMESTEP

_PARKED = -20.0
_GEOM_TYPES = {
    BOX: mujoco.mjtGeom.mjGEOM_BOX,
    BALL: mujoco.mjtGeom.mjGEOM_SPHERE,
    CYLINDER: mujoco.mjtGeom.mjGEOM_CYLINDER,
}


class Arena:
    """Physics and camera of the simulated robot; equal inputs give equal bits.

    Not thread-safe: one thread owns it. The OpenGL context is made at the first picture.
    """

    def __init__(self) -> None:
        self._model = build()
        self._data = mujoco.MjData(self._model)
        self._renderer: mujoco.Renderer | None = None
        self._layout: Layout | None = None
        self._plan: Plan | None = None
        self._steps = 0
        self._odometry = np.zeros(3)
        self._geoms = [self._model.geom(f'object{i}').id for i in range(MAX_OBJECTS)]
        self._walls = [self._model.geom(f'wall{i}').id for i in range(4)]
        self._floor = self._model.geom('floor').id
        self._chassis = self._model.geom('chassis').id
        self._slot_of_geom = np.full(self._model.ngeom + 1, -1)
        self._slot_of_geom[self._geoms] = np.arange(MAX_OBJECTS)

    @property
    def layout(self) -> Layout:
        """The layout of the latest reset.

        Raises:
            SimulationError: There was no reset yet.
        """
        if self._layout is None:
            raise SimulationError('arena has no layout; expected reset(layout) first')
        return self._layout

    @property
    def sim_time(self) -> float:
        """Seconds since the latest reset."""
        return self._steps * TIMESTEP

    @property
    def pose(self) -> tuple[float, float, float]:
        """x, y in metres and yaw in radians (-pi to pi): the truth."""
        x, y, _, yaw = self._data.qpos[:4]
        return float(x), float(y), math.remainder(yaw, math.tau)

    @property
    def velocity(self) -> tuple[float, float]:
        """Forward speed in m/s and turn rate in rad/s: the truth."""
        yaw = self._data.qpos[3]
        x_rate, y_rate, _, turn_rate = self._data.qvel[:4]
        return float(x_rate * math.cos(yaw) + y_rate * math.sin(yaw)), float(turn_rate)

    @property
    def odometry(self) -> tuple[float, float, float]:
        """x, y, yaw as the wheels count them from the true start of the latest reset on."""
        x, y, yaw = self._odometry
        return float(x), float(y), math.remainder(yaw, math.tau)

    @property
    def wheel_velocity(self) -> tuple[float, float]:
        """Forward speed in m/s and turn rate in rad/s as the wheels have them: slip counts too."""
        left, right = self._data.qvel[4:6] * robot.WHEEL_RADIUS
        return float(left + right) / 2, float(right - left) / robot.WHEEL_SEPARATION

    def reset(self, layout: Layout) -> None:
        """Set up a layout, with the robot at rest at its start and the time at zero."""
        model = self._model
        mujoco.mj_resetData(model, self._data)
        self._layout = layout
        self._plan = layout.plan
        self._steps = 0
        self._odometry = np.array(layout.start, float)
        for slot, geom in enumerate(self._geoms):
            if slot >= len(layout.objects):
                self._data.mocap_pos[slot] = (2.0 * slot, 0.0, _PARKED)
                continue
            item = layout.objects[slot]
            self._data.mocap_pos[slot] = (item.x, item.y, item.height / 2)
            self._data.mocap_quat[slot] = (math.cos(item.yaw / 2), 0, 0, math.sin(item.yaw / 2))
            model.geom_type[geom] = _GEOM_TYPES[item.shape]
            half = item.size / 2 if item.shape == BOX else item.size
            model.geom_size[geom] = (half, half if item.shape == BOX else item.height / 2, half)
            model.geom_rgba[geom, :3] = COLOURS[item.colour]
        self._set_appearance()
        self.place(*layout.start)

    def place(self, x: float, y: float, yaw: float) -> None:
        """Put the robot somewhere at rest; time, odometry and objects stay as they are."""
        self._data.qpos[:4] = (x, y, 0.0, yaw)
        self._data.qvel[:] = 0.0
        self._data.qacc_warmstart[:] = 0.0
        self._data.ctrl[:] = 0.0
        mujoco.mj_forward(self._model, self._data)

    def command(self, speed: float, turn_rate: float) -> None:
        """Set the wheels' target speeds, held until the next command.

        Args:
            speed: m/s, clipped to the robot's limit.
            turn_rate: rad/s, clipped to the robot's limit.

        Raises:
            SimulationError: A value is not finite.
        """
        if not (math.isfinite(speed) and math.isfinite(turn_rate)):
            raise SimulationError(f'command is ({speed}, {turn_rate}); expected finite numbers')
        speed = min(max(speed, -robot.MAX_SPEED), robot.MAX_SPEED)
        turn_rate = min(max(turn_rate, -robot.MAX_TURN_RATE), robot.MAX_TURN_RATE)
        difference = turn_rate * robot.WHEEL_SEPARATION / 2
        self._data.ctrl[:] = (
            (speed - difference) / robot.WHEEL_RADIUS,
            (speed + difference) / robot.WHEEL_RADIUS,
        )

    def advance(self, seconds: float) -> None:
        """Let simulated time pass.

        Args:
            seconds: A multiple of the physics step of 5 ms.

        Raises:
            SimulationError: It is not a multiple.
        """
        steps = round(seconds / TIMESTEP)
        if steps < 0 or abs(steps * TIMESTEP - seconds) > 1e-9:
            raise SimulationError(f'advance by {seconds} s; expected a multiple of {TIMESTEP} s')
        for _ in range(steps):
            mujoco.mj_step(self._model, self._data)
            self._count_wheels()
        self._steps += steps

    def render(self) -> np.ndarray:
        """Take the camera's picture.

        Returns:
            uint8 [480, 640, 3], RGB.

        Raises:
            SimulationError: This machine cannot render; the message names the remedy.
        """
        return self._picture()

    def segmentation(self) -> np.ndarray:
        """Say for every pixel of the camera which object it shows.

        Returns:
            int [480, 640], index of the object, -1 where there is none.
        """
        if self._renderer is None:
            self._renderer = self._open_renderer()
        self._renderer.enable_segmentation_rendering()
        try:
            ids = self._picture()
        finally:
            self._renderer.disable_segmentation_rendering()
        geoms = np.where(ids[..., 1] == mujoco.mjtObj.mjOBJ_GEOM, ids[..., 0], -1)
        return self._slot_of_geom[geoms]

    def gap(self, index: int) -> float:
        """Metres between the robot's footprint and the surface of an object, seen from above."""
        if self._plan is None or not 0 <= index < len(self.layout.objects):
            count = len(self.layout.objects)
            raise SimulationError(f'object index is {index}; expected 0 to {count - 1}')
        return float(self._plan.gaps(self._data.qpos[None, :2])[0, index])

    def in_contact(self) -> bool:
        """Say whether the robot touches an object or a wall."""
        return bool((self._data.contact.geom == self._chassis).any())

    def close(self) -> None:
        """Free the OpenGL context."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def _open_renderer(self) -> mujoco.Renderer:
        return renderer(self._model, robot.IMAGE_WIDTH, robot.IMAGE_HEIGHT)

    def _picture(self) -> np.ndarray:
        if self._renderer is None:
            self._renderer = self._open_renderer()
        self._renderer.update_scene(self._data, camera='camera')
        return self._renderer.render()

    def _count_wheels(self) -> None:
        speed, turn_rate = self.wheel_velocity
        forward, turn = speed * TIMESTEP, turn_rate * TIMESTEP
        middle = self._odometry[2] + turn / 2
        self._odometry += (forward * math.cos(middle), forward * math.sin(middle), turn)

    def _set_appearance(self) -> None:
        look, model = self.layout.appearance, self._model
        model.geom_matid[self._floor] = model.material(f'floor_{look.floor_texture}').id
        model.geom_rgba[self._floor, :3] = look.floor_colour
        model.geom_matid[self._walls] = model.material(f'wall_{look.wall_texture}').id
        model.geom_rgba[self._walls, :3] = look.wall_colour
        tint = np.array(look.light_colour)
        model.light_dir[0] = look.light_direction
        model.light_diffuse[0] = look.light_brightness * tint
        model.vis.headlight.ambient = look.ambient_brightness * tint
