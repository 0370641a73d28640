"""How a recorder does, as /diagnostics says it."""

from collections.abc import Mapping

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from vla_replay.recording.recorders import Status

_LONGEST = 300


def status_of(
    status: Status,
    dropped: Mapping[str, int],
    held: int,
    lost: Mapping[str, int],
    refused: Mapping[str, str],
) -> DiagnosticStatus:
    """Return the report.

    Args:
        status: of the recorder.
        dropped: topic -> messages that did not fit into memory.
        held: bytes that wait for the disk.
        lost: topic -> messages that the middleware lost.
        refused: topic -> why its pictures stay raw.
    """
    level = DiagnosticStatus.OK
    if dropped or lost or refused or status.lost:
        level = DiagnosticStatus.WARN
    if status.error:
        level = DiagnosticStatus.ERROR
    values = {
        'written': status.written,
        'dropped in memory': sum(dropped.values()),
        'lost on disk': status.lost,
        'lost in the middleware': sum(lost.values()),
        'bytes that wait': held,
        'pictures kept raw': '; '.join(refused.values())[:_LONGEST],
    }
    newest = str(status.bags[-1]) if status.bags else 'no bag yet'
    return DiagnosticStatus(
        level=level,
        name='/recorder',
        message=status.error or newest,
        values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
    )
