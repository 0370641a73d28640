"""What the monitor publishes: reports, diagnostics, and requests for a stop."""

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node
from std_msgs.msg import Header

from vla_core.graph_health import Report
from vla_interfaces.msg import HealthReport, StopRequest
from vla_monitor import messages
from vla_ros import qos
from vla_ros.clock import ProcessClock
from vla_ros.conversion import to_time

#: s between two requests: a HOLD lasts 0.3 s in the gate and is renewed while its reason lasts.
REQUEST_PERIOD = 0.2


class Outbox:
    """Publishers of the monitor; every message is stamped with the process's clock."""

    def __init__(self, node: Node, time: ProcessClock) -> None:
        """Offer `vla/health`, `/diagnostics` and `safety/request` on `node`."""
        self._time = time
        self._namespace = node.get_namespace()
        self._requested = -REQUEST_PERIOD
        self._reports = node.create_publisher(HealthReport, 'vla/health', qos.HEALTH)
        self._diagnostics = node.create_publisher(DiagnosticArray, '/diagnostics', qos.REQUEST)
        self._requests = node.create_publisher(StopRequest, 'safety/request', qos.REQUEST)

    def report(self, report: Report, *more: DiagnosticStatus) -> None:
        """Publish what is known, for people and for the tools that read /diagnostics."""
        header = self._header()
        self._reports.publish(messages.health_to_msg(report, header))
        self._diagnostics.publish(
            messages.diagnostics_to_msg(report, header, self._namespace, *more)
        )

    def request(self, wanted: str, reason: str, now: float) -> None:
        """Ask the gate for one of vla_core.graph_health.REQUESTS, at most every REQUEST_PERIOD."""
        if wanted != 'none' and now - self._requested >= REQUEST_PERIOD:
            self._requested = now
            self._requests.publish(messages.request_to_msg(wanted, reason, self._header()))

    def _header(self) -> Header:
        return Header(stamp=to_time(self._time.stamp_ns()))
