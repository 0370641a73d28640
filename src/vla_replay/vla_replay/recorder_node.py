"""Flight recorder: every chosen topic of the graph into a bag, or the last seconds on demand."""

from collections.abc import Callable
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
    """Hears everything, says how the disk does.

    Attributes:
        error: why the bag could not be finished; empty: it is not closed yet, or whole.
    """

    def __init__(self, **options: Any) -> None:
        """Begin a bag, or a ring."""
        super().__init__('recorder', **options)
        self.error = ''
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
        status = self._recorder.status
        self.error = status.error
        for bag in status.bags:
            self.get_logger().info(f'recorded {bag}')
        if status.lost:
            self.get_logger().warning(f'{status.lost} messages were lost on disk')
        if status.error:
            self.get_logger().error(f'not finished: {status.error}')

    def _convert(self, message: Message) -> Message:
        return (
            self._pictures.convert(message) if message.topic in self._listening.jpeg else message
        )

    def _look(self) -> None:
        self._listening.look()
        self._asking.look()
        self._report()

    def _on_save(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._desk.trigger('asked for')
        error = self._recorder.status.error
        response.success = not error
        response.message = f'asked for; due in {self._config.after_seconds:g} s in {self._folder}'
        if error:
            response.message = f'asked for, and not written while the disk refuses: {error}'
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


def run_recorder(make: Callable[[], RecorderNode]) -> int:
    """Run a recorder until a signal; return the exit status, 1 if its bag was not finished."""
    made: list[RecorderNode] = []

    def make_node() -> RecorderNode:
        made.append(make())
        return made[-1]

    # Killed with a lock of shared memory in its hand it would hold up the camera and the base.
    status = run(make_node, frames=not udp_holds_frames())
    return status or int(any(node.error for node in made))


def main() -> None:
    """Run the node until a signal."""
    sys.exit(run_recorder(RecorderNode))


if __name__ == '__main__':
    main()
