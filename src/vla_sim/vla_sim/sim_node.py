"""The simulated robot as a ROS node: camera, odometry and base in real time."""

from __future__ import annotations

import os
import sys
from typing import Any

from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import String
from tf2_msgs.msg import TFMessage

from vla_core.errors import ConfigError
from vla_interfaces.msg import SceneTruth
from vla_interfaces.srv import ResetSimulation
from vla_ros import qos
from vla_ros.conversion import to_time
from vla_ros.guard import guarded
from vla_ros.heartbeat import Activity, HeartbeatPublisher, Vitals
from vla_ros.parameters import declare, use_sim_time
from vla_ros.running import events_executor, run
from vla_sim import messages
from vla_sim.arena import Arena
from vla_sim.config import SimConfig
from vla_sim.graphics import draw_with
from vla_sim.layout import sample_layout
from vla_sim.live import LiveSimulation
from vla_sim.urdf import robot_description

TRUTH_PER_ODOMETRY = 5
SLOW = 0.95


class SimNode(Node):
    """Connect a live simulation to topics; the simulation's thread publishes."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__('sim', **kwargs)
        self._config = declare(self, SimConfig)
        if use_sim_time(self):
            raise ConfigError('sim: use_sim_time is true: expected false, it keeps real time')
        self._errors = 0
        self._steps = 0
        self._images = self.create_publisher(Image, 'camera/color/image_raw', qos.SENSOR)
        self._infos = self.create_publisher(CameraInfo, 'camera/color/camera_info', qos.SENSOR)
        self._odometry = self.create_publisher(Odometry, 'odom', qos.VELOCITY)
        self._transforms = self.create_publisher(TFMessage, 'tf', qos.EVENTS)
        self._truth = self.create_publisher(SceneTruth, 'sim/truth', qos.VELOCITY)
        description = self.create_publisher(String, 'robot_description', qos.STATE)
        description.publish(String(data=robot_description()))
        self._live = LiveSimulation(
            self, sample_layout(self._config.seed), self._config.frame_rate
        )
        self._live.start()
        self.create_subscription(
            Twist, 'cmd_vel', guarded(self, self._on_cmd_vel, self.failed), qos.VELOCITY
        )
        self.create_service(ResetSimulation, 'sim/reset', self._on_reset)
        self._heartbeat = HeartbeatPublisher(self, 'sim', self._vitals)
        self.get_logger().info(f'layout {self._config.seed}: robot and camera are live')

    def close(self) -> None:
        """End the simulation's thread while publishing is still possible."""
        self._live.stop()

    def failed(self, _: Exception) -> None:
        """Count an error of a callback, or one that no callback's guard has seen."""
        self._errors += 1

    def stamp(self) -> int:
        """Return ROS time, ns."""
        return self.get_clock().now().nanoseconds

    def frame(self, picture: np.ndarray, stamp_ns: int) -> None:
        """Publish a picture and its camera."""
        stamp = to_time(stamp_ns)
        self._images.publish(messages.image(picture, stamp))
        self._infos.publish(messages.camera_info(stamp))

    def odometry(self, arena: Arena, stamp_ns: int) -> None:
        """Publish odometry and transforms, every fifth time the truth as well."""
        stamp = to_time(stamp_ns)
        self._odometry.publish(messages.odometry(arena, stamp))
        self._transforms.publish(messages.transforms(arena, stamp))
        if self._steps % TRUTH_PER_ODOMETRY == 0:
            factor = self._live.rates.real_time_factor
            self._truth.publish(messages.truth(arena, stamp, factor))
        self._steps += 1

    def _on_cmd_vel(self, twist: Twist) -> None:
        self._live.command(twist.linear.x, twist.angular.z)

    def _on_reset(
        self, request: ResetSimulation.Request, response: ResetSimulation.Response
    ) -> ResetSimulation.Response:
        layout = sample_layout(request.seed)
        self._live.reset(layout)
        names = ', '.join(item.name for item in layout.objects)
        response.success, response.message = True, f'layout {layout.seed}: {names}'
        return response

    def _vitals(self) -> Vitals:
        self._live.check()
        rates = self._live.rates
        detail = ''
        if rates.real_time_factor < SLOW or rates.frames < SLOW * self._config.frame_rate:
            detail = f'{rates.frames:.1f} Hz, {rates.real_time_factor:.2f} of real time'
            self.get_logger().warning(f'slow machine: {detail}', throttle_duration_sec=5.0)
        return Vitals(Activity.WAITING, 0.0, rates.frames_total, self._errors, 0, 0.0, detail)


def main() -> None:
    """Run the simulated robot until a signal."""
    # A frame goes from node to node: while it is drawn, the second core has little else to do.
    draw_with(2 if len(os.sched_getaffinity(0)) > 1 else 0)
    sys.exit(run(SimNode, frames=True, make_executor=events_executor))
