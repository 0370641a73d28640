"""The straightforward node: what VLA robots begin with, on the same network and the same frames.

Ten times a second the newest frame becomes a PIL image, is stretched, and goes through the network
in eager torch, together with the instruction, which is tokenised and encoded every time anew. The
first action of the chunk is the command; nothing resamples it, nothing guards it.

Run as `python -m vla_replay.rivals.seed_way CHECKPOINT`.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
import sys

from geometry_msgs.msg import Twist
import numpy as np
from PIL import Image as Pillow
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from sensor_msgs.msg import Image
from std_msgs.msg import String

from vla_core.types import Observation
from vla_learning.optimise.subject import load_subject
from vla_learning.optimise.torch_policy import TorchPolicy
from vla_ros import qos

#: Of the polling timer, Hz, and words to which the seed pads every instruction.
RATE, WORDS = 10.0, 64


class SeedWay(Node):
    """Poll, transform, tokenise, infer, publish one action."""

    def __init__(self, policy: TorchPolicy) -> None:
        """Listen to frames and texts."""
        super().__init__('seed_way')
        self._policy = policy
        self._slot = policy.spec.cameras[0]
        self._image: Image | None = None
        self._text = ''
        self._commands = self.create_publisher(Twist, 'cmd_vel', 10)
        self.create_subscription(Image, 'camera/color/image_raw', self._on_image, qos.SENSOR)
        self.create_subscription(String, 'command', self._on_text, qos.COMMAND)
        self.create_timer(1.0 / RATE, self._act)

    def _on_image(self, msg: Image) -> None:
        self._image = msg

    def _on_text(self, msg: String) -> None:
        self._text = msg.data

    def _act(self) -> None:
        msg = self._image
        if msg is None or not self._text:
            return
        frame = np.frombuffer(msg.data, np.uint8).reshape(msg.height, msg.width, 3)
        size = (self._slot.width, self._slot.height)
        small = Pillow.fromarray(frame).resize(size, Pillow.Resampling.BILINEAR)
        spec = self._policy.spec
        seen = Observation(
            {self._slot.name: np.array(small)},
            0,
            np.zeros(len(spec.state_names)),
            spec.state_names,
        )
        actions = self._policy.infer(seen, self._policy.encode(self._text)).actions
        first = dict(zip(spec.action_names, spec.to_si(actions)[0], strict=True))
        command = Twist()
        command.linear.x = float(first.get('linear.x', 0.0))
        command.angular.z = float(first.get('angular.z', 0.0))
        # For the one who measures: which frame this was.
        command.linear.z = float(frame[0, 0, 0])
        self._commands.publish(command)


def main() -> None:
    """Run the node until a signal."""
    policy = TorchPolicy(load_subject(Path(sys.argv[1])))
    policy.pad_to = WORDS
    rclpy.init()
    with suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(SeedWay(policy))


if __name__ == '__main__':
    main()
