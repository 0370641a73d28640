"""What the monitor concluded, as messages."""

from collections.abc import Iterable, Mapping
import math

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from std_msgs.msg import Header

from vla_core.graph_health import Alarm, Beat, Level, NodeReport, Report
from vla_core.health import SPAN, Summary
from vla_core.text import printable
from vla_interfaces.msg import (
    HealthReport,
    Heartbeat,
    HopLatency,
    Instruction,
    NodeHealth,
    StopRequest,
)

#: Characters of foreign texts that are passed on.
LONGEST_NAME, LONGEST_TEXT = 64, 200
#: Names of Instruction.STATUS_*.
_STATUSES = (
    *('idle', 'running', 'done', 'not found', 'refused', 'timed out', 'malformed', 'replaced'),
    'stopped',
)
#: Of vla_core.graph_health.REQUESTS.
_REQUESTED = {
    'slow': StopRequest.SLOW,
    'hold': StopRequest.HOLD,
    'controlled_stop': StopRequest.CONTROLLED_STOP,
}
#: Unknown is no fault: nothing has been seen that would be one.
_LEVELS = {
    Level.UNKNOWN: DiagnosticStatus.OK,
    Level.OK: DiagnosticStatus.OK,
    Level.WARN: DiagnosticStatus.WARN,
    Level.ERROR: DiagnosticStatus.ERROR,
}


def name_of(msg: Heartbeat) -> str:
    """Return the node's name, with the slot for cameras."""
    name = f'{msg.node}/{msg.slot}' if msg.slot else msg.node
    return printable(name[:LONGEST_NAME])


def beat_from_msg(msg: Heartbeat) -> Beat:
    """Return what a node says of itself."""
    return Beat(
        msg.state,
        msg.state_age,
        msg.progress,
        msg.errors_total,
        msg.consecutive_errors,
        printable(msg.detail[:LONGEST_TEXT]),
        printable(msg.warning[:LONGEST_TEXT]),
    )


def describe(msg: Instruction) -> str:
    """Say in a few words what became of a text."""
    status = _STATUSES[msg.status] if msg.status < len(_STATUSES) else 'unknown'
    return f'{msg.id} {msg.text[:LONGEST_TEXT]!r}: {status}'


def request_to_msg(wanted: str, reason: str, header: Header) -> StopRequest:
    """Return the request for a stop, one of vla_core.graph_health.REQUESTS but `none`."""
    level = _REQUESTED[wanted]
    return StopRequest(header=header, level=level, source='monitor', reason=reason)


def health_to_msg(report: Report, header: Header) -> HealthReport:
    """Return the message of a report."""
    return HealthReport(
        header=header,
        level=int(report.level),
        nodes=[
            NodeHealth(
                name=node.name,
                state=node.beat.state,
                heartbeat_rate=node.rate,
                heartbeat_age=node.age,
                progress=node.beat.progress,
                errors_total=node.beat.errors_total,
                consecutive_errors=node.beat.consecutive_errors,
                detail=node.beat.detail,
            )
            for node in report.nodes
        ],
        hops=[
            HopLatency(
                name=name,
                count=hop.count,
                mean=hop.mean,
                std=hop.std,
                p50=hop.p50,
                p95=hop.p95,
                p99=hop.p99,
                max=hop.maximum,
                rate=hop.rate,
            )
            for name, hop in report.hops.items()
        ],
        latency_mean=report.latency.mean,
        latency_std=report.latency.std,
        latency_baseline=report.baseline,
        inference_count=report.inferences,
        action_names=list(report.action_names),
        action_variance=list(report.action_variance),
        anomalies=report.anomalies,
        alarms=[text for _, text in report.alarms],
    )


def diagnostics_to_msg(
    report: Report, header: Header, namespace: str, *more: DiagnosticStatus
) -> DiagnosticArray:
    """Return the report for the tools that read /diagnostics, whatever robot it is about."""
    root = f'{namespace.strip("/")}/vla'.lstrip('/')
    statuses = [_overall(report), *(_node(node, report.alarms) for node in report.nodes)]
    statuses += [_hop(name, hop, name in report.quiet) for name, hop in report.hops.items()]
    statuses.append(_envelope(report))
    statuses += more
    for status in statuses:
        status.name = f'{root}{status.name}'
        status.hardware_id = namespace
    return DiagnosticArray(header=header, status=statuses)


def _overall(report: Report) -> DiagnosticStatus:
    alarms = '; '.join(text for _, text in report.alarms)
    values = {
        'instruction': report.instruction,
        'inferences': report.inferences,
        'inference baseline [s]': report.baseline,
        'anomalies': report.anomalies,
    }
    for name, variance in zip(report.action_names, report.action_variance, strict=True):
        values[f'variance of {name}'] = variance
    healthy = 'unknown' if report.level == Level.UNKNOWN else 'ok'
    return _status('', report.level, alarms or healthy, values)


def _node(node: NodeReport, alarms: Iterable[tuple[Alarm, str]]) -> DiagnosticStatus:
    own = [(alarm.level, text) for alarm, text in alarms if text.startswith(f'{node.name}: ')]
    if node.silent and not own:
        own = [(Level.WARN, f'last heard {node.age:.1f} s ago')]
    level = max((level for level, _ in own), default=Level.OK)
    message = '; '.join(text for _, text in own) or node.beat.detail or 'alive'
    values = {
        'rate [Hz]': node.rate,
        'age [s]': node.age,
        'progress': node.beat.progress,
        'errors': node.beat.errors_total,
        'errors in a row': node.beat.consecutive_errors,
    }
    return _status(f'/node/{node.name}', level, message, values)


def _hop(name: str, hop: Summary, quiet: bool) -> DiagnosticStatus:
    if hop.age > SPAN:
        message = f'nothing for {hop.age:.0f} s'
    elif math.isnan(hop.p50):
        message = 'unknown'
    else:
        message = f'p50 {hop.p50 * 1e3:.1f} ms, p99 {hop.p99 * 1e3:.1f} ms'
    values = {
        'samples': hop.count,
        'p50 [s]': hop.p50,
        'p95 [s]': hop.p95,
        'p99 [s]': hop.p99,
        'max [s]': hop.maximum,
        'rate [Hz]': hop.rate,
    }
    return _status(f'/hop/{name}', Level.WARN if quiet else Level.OK, message, values)


def _envelope(report: Report) -> DiagnosticStatus:
    """Say what the policy's numbers are held against, and which have left it."""
    found = [text for alarm, text in report.alarms if alarm is Alarm.OUTSIDE]
    values = {
        f'{name} outside': f'{share:.0%} lately, {count} chunks'
        for name, (share, count) in report.outside.items()
    }
    level = Alarm.OUTSIDE.level if found else Level.OK
    return _status('/envelope', level, '; '.join(found) or report.envelope, values)


def _status(
    name: str, level: Level, message: str, values: Mapping[str, str | float]
) -> DiagnosticStatus:
    pairs = [KeyValue(key=key, value=_text(value)) for key, value in values.items()]
    return DiagnosticStatus(name=name, level=_LEVELS[level], message=message, values=pairs)


def _text(value: str | float) -> str:
    if isinstance(value, float):
        return 'unknown' if math.isnan(value) else f'{value:.6g}'
    return str(value)
