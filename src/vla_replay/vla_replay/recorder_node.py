"""Flight recorder: every chosen topic of the graph into a bag, or the last seconds on demand."""

from pathlib import Path
import sys
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.logging import get_logging_directory
from rclpy.node import Node
from std_srvs.srv import Trigger

from vla_replay.asking import Asking
from vla_replay.bag.topics import Message
from vla_replay.listening import Listening
from vla_replay.recording.choice import Choice
from vla_replay.recording.config import MEGABYTE, RecorderConfig
from vla_replay.recording.desk import Desk
from vla_replay.recording.making import make_recorder
from vla_replay.recording.pictures import Pictures
from vla_replay.recording.queue import Queue
from vla_replay.recording.revision import git_revision
from vla_replay.recording.thread import WritingThread
from vla_replay.reporting import status_of
from vla_replay.watching import Watching
from vla_ros.clock import STEADY
from vla_ros.parameters import declare
from vla_ros.running import run
from vla_ros.transport import udp_holds_frames

#: s between two looks at the graph, and two reports.
PERIOD = 1.0


class RecorderNode(Node):
    """Hears everything, says how the disk does."""

    def __init__(self, **options: Any) -> None:
        """Begin a bag, or a ring."""
        super().__init__('recorder', **options)
        self._config = config = declare(self, RecorderConfig)
        self._folder = Path(config.folder or Path(get_logging_directory()) / 'bags').expanduser()
        self._queue = Queue(config.queue_mb * MEGABYTE)
        self._recorder = make_recorder(config, self._folder)
        self._pictures = Pictures(config.jpeg_quality)
        choice = Choice(config, self.get_namespace())
        self._listening = Listening(self, choice, self._queue, self._recorder)
        self._desk = Desk(self._queue, self._recorder)
        self._asking = Asking(self, self._desk.attach)
        self._watching = Watching(self, config, self._desk)
        self._thread = WritingThread(self._queue, self._recorder, self._convert)
        self._desk.note('git_revision', git_revision(Path(__file__).resolve().parent) or 'unknown')
        self._desk.note('namespace', self.get_namespace())
        if config.mode == 'ring':
            self.create_service(Trigger, '~/save', self._on_save)
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self.create_timer(PERIOD, self._look, clock=STEADY)
        self._look()

    def close(self) -> None:
        """Write what waits and finish the bag."""
        self._thread.close()
        for bag in self._recorder.status.bags:
            self.get_logger().info(f'recorded {bag}')

    def _convert(self, message: Message) -> Message:
        return (
            self._pictures.convert(message) if message.topic in self._listening.jpeg else message
        )

    def _look(self) -> None:
        self._listening.look()
        self._asking.look()
        self._report()

    def _on_save(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = True
        response.message = f'written in {self._config.after_seconds:g} s, to {self._folder}'
        self._desk.trigger('asked for')
        return response

    def _report(self) -> None:
        report = status_of(
            self._recorder.status,
            self._queue.dropped,
            self._queue.held,
            self._listening.lost,
            self._pictures.refused,
        )
        if report.level == DiagnosticStatus.ERROR:
            text = f'not recording: {report.message}'
            self.get_logger().error(text, throttle_duration_sec=5.0)
        msg = DiagnosticArray(status=[report])
        msg.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(msg)


def main() -> None:
    """Run the node until a signal."""
    # Killed with a lock of shared memory in its hand it would hold up the camera and the base.
    sys.exit(run(RecorderNode, frames=not udp_holds_frames()))


if __name__ == '__main__':
    main()
