"""`vla blackbox`: what happened before an emergency stop, in words and as a picture."""

from __future__ import annotations

from pathlib import Path

from vla_core.black_box.record import BlackBoxError, read, Recording
from vla_core.gate.messages import EventKind
from vla_core.robot import AXES, AXIS_UNITS
from vla_core.text import printable

#: Events that are told at most; the rest is in the file.
MOST_EVENTS = 8
#: ns from the trigger within which an event belongs to it: two steps of the gate.
_AT_ONCE_NS = 40_000_000


def show(file: Path, output: Path | None) -> int:
    """Print a summary of a black box and draw it; return the exit status.

    Raises:
        BlackBoxError: if there is nothing to draw, or the picture cannot be written.
    """
    recording = read(file)
    steps, header = recording.steps, recording.header
    if not steps:
        raise BlackBoxError(f'{file}: no step is readable; {recording.torn or "it holds none"}')
    print(printable(f'{header.trigger}, robot {header.robot}, written {header.written}'))
    span = (steps[-1].stamp_ns - steps[0].stamp_ns) * 1e-9
    lost = steps[-1].tick - steps[0].tick + 1 - len(steps)
    gaps = f', {lost} lost on the way' if lost > 0 else ''
    print(f'{len(steps)} steps in {span:.1f} s{gaps}, {len(recording.notes)} events')
    print(*_changes(recording), *events(recording), sep='\n')
    if recording.torn:
        print(f'torn: {recording.torn}')
    # Slow to import, and not wanted by anything above.
    from vla_cli.black_box_picture import draw

    picture = output or file.with_suffix('.png')
    try:
        draw(recording, picture)
    except (OSError, ValueError) as error:
        raise BlackBoxError(f'{picture}: {error}: expected a picture, e.g. .png') from error
    print(picture)
    return 0


def axes_of(recording: Recording) -> list[int]:
    """Return the axes that the robot has, or that anything was asked of."""
    moved = {
        index
        for step in recording.steps
        for velocity in (step.wanted, step.allowed, step.published)
        for index, value in enumerate(velocity)
        if value != 0.0
    }
    limited = {index for index, name in enumerate(AXES) if name in recording.header.limits}
    return sorted(moved | limited) or [0]


def events(recording: Recording) -> list[str]:
    """Return in order what the gate said: at the trigger, of its changes of state, and last."""
    trigger_ns, notes = recording.header.stamp_ns, recording.notes

    def rank(number: int) -> tuple[int, int]:
        note = notes[number]
        away_ns = abs(note.stamp_ns - trigger_ns)
        importance = 2 * (note.what == EventKind.TRANSITION.name) + (away_ns <= _AT_ONCE_NS)
        return -importance, away_ns if importance else -note.stamp_ns

    kept = sorted(sorted(range(len(notes)), key=rank)[:MOST_EVENTS])
    lines = [
        f'{(notes[number].stamp_ns - trigger_ns) * 1e-9:+8.2f} s  {printable(notes[number].text)}'
        for number in kept
    ]
    left_out = len(notes) - len(kept)
    return [*lines, f'{left_out} more events in the file'] if left_out else lines


def _changes(recording: Recording) -> list[str]:
    """Return one line per change of state or first cause, with the velocity published then."""
    axes = axes_of(recording)
    lines = []
    before = None
    for step in recording.steps:
        now = (step.state, step.cause)
        if now != before:
            before = now
            seconds = (step.stamp_ns - recording.header.stamp_ns) * 1e-9
            speeds = (
                f'{AXES[axis]} {step.published[axis]:+.2f} {AXIS_UNITS[axis]}' for axis in axes
            )
            happened = printable(f'{step.state:16} {step.cause:18} ')
            lines.append(f'{seconds:+8.2f} s  {happened}{", ".join(speeds)}')
    return lines
