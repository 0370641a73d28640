"""`vla blackbox`: what happened before an emergency stop, in words and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vla_core.black_box.record import BlackBoxError, read, Step


def show(file: Path, output: Path | None) -> int:
    """Print a summary of a black box and draw it; return the exit status.

    Raises:
        BlackBoxError: if there is nothing to draw, or the picture cannot be written.
    """
    recording = read(file)
    steps, header = recording.steps, recording.header
    if not steps:
        raise BlackBoxError(f'{file}: no step is readable; {recording.torn or "it holds none"}')
    print(f'{header.trigger}, robot {header.robot}, written {header.written}')
    span = (steps[-1].stamp_ns - steps[0].stamp_ns) * 1e-9
    lost = steps[-1].tick - steps[0].tick + 1 - len(steps)
    gaps = f', {lost} lost on the way' if lost > 0 else ''
    print(f'{len(steps)} steps in {span:.1f} s{gaps}, {len(recording.notes)} events')
    for line in _changes(steps, header.stamp_ns):
        print(line)
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


def _changes(steps: Sequence[Step], trigger_ns: int) -> list[str]:
    """Return one line per change of state or first cause, with the speed published then."""
    lines = []
    before = None
    for step in steps:
        now = (step.state, step.cause)
        if now != before:
            before = now
            seconds = (step.stamp_ns - trigger_ns) * 1e-9
            linear, angular = step.published[0], step.published[5]
            lines.append(
                f'{seconds:+8.2f} s  {step.state:16} {step.cause:18} '
                f'{linear:+.2f} m/s {angular:+.2f} rad/s'
            )
    return lines
