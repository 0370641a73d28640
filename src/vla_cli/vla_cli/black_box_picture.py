"""Draw a black box: what the gate did in the seconds before an emergency stop, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
import itertools
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
import numpy as np

from vla_cli.black_box import axes_of, events
from vla_core.black_box.record import Recording, Step
from vla_core.robot import AXES, AXIS_UNITS
from vla_core.text import printable

#: Calm where the robot stands or obeys, warm where something is wrong.
STATE_COLOURS = {
    'INIT': '#d9d9d9',
    'STOPPED': '#b8c4ce',
    'ARMING': '#c6e2b5',
    'ACTIVE': '#7fbf7b',
    'MANUAL': '#80b1d3',
    'HOLD': '#fee08b',
    'CONTROLLED_STOP': '#fdae61',
    'ESTOP': '#d73027',
    'FAULT': '#7a0177',
}
AGE_COLOURS = {
    'heartbeat_age': '#1b9e77',
    'chunk_age': '#7570b3',
    'observation_age': '#d95f02',
    'odom_age': '#666666',
}
#: Letters of a line below the panels.
_LONGEST_LINE = 140
_WIDTH, _DPI = 11.0, 110
#: m/s, rad/s: what is beyond is drawn as a mark, not to scale.
FARTHEST = 1e3
#: s: ages beyond, and beyond all limits, run along the upper edge.
_LONGEST_AGE = 5.0


def draw(recording: Recording, path: Path) -> None:
    """Draw a recording with at least one step into an image file; the suffix names its kind.

    Raises:
        OSError: if it cannot be written.
        ValueError: if the suffix names no kind.
    """
    # What others wrote is no formula.
    with rc_context({'text.parse_math': False}):
        # Without its kind, a name without a suffix would be written as another one.
        _drawn(recording).savefig(path, format=path.suffix[1:])


def _drawn(recording: Recording) -> Figure:
    steps = recording.steps
    seconds = _seconds(steps, recording.header.stamp_ns)
    axes = axes_of(recording)
    causes = sorted({cause for step in steps for cause in step.causes})
    lines = _lines(recording)
    heights = [0.5, *[2.0] * len(axes), 1.6, 0.3 + 0.22 * max(1, len(causes))]
    heights.append(0.18 * len(lines))
    figure = Figure(figsize=(_WIDTH, 1.0 + sum(heights)), dpi=_DPI, layout='constrained')
    panels = figure.subplots(
        len(heights), 1, sharex=True, squeeze=True, gridspec_kw={'height_ratios': heights}
    )
    header = recording.header
    where = f'{header.robot} ({header.namespace})' if header.namespace else header.robot
    written = f'{header.written[:19].replace("T", " ")} UTC'
    figure.suptitle(printable(f'{header.trigger}   ·   {where}   ·   {written}'))
    _draw_states(panels[0], seconds, steps)
    for panel, axis in zip(panels[1:], axes, strict=False):
        _draw_velocity(panel, seconds, steps, axis, header.limits.get(AXES[axis], {}))
    _draw_ages(panels[-3], seconds, steps, header.limits)
    _draw_causes(panels[-2], seconds, steps, causes)
    for panel in panels[:-1]:
        panel.axvline(0.0, color='black', linewidth=0.8, linestyle=':')
    panels[0].set_xlim(seconds[0], max(seconds[-1], seconds[0] + 0.1))
    panels[-2].set_xlabel('s before and after the trigger')
    panels[-2].tick_params(labelbottom=True)
    panels[-1].axis('off')
    panels[-1].text(
        *(0.0, 1.0, '\n'.join(lines)),
        transform=panels[-1].transAxes,
        va='top',
        fontsize=8,
        family='monospace',
    )
    return figure


def _seconds(steps: Sequence[Step], trigger_ns: int) -> np.ndarray:
    return np.array([(step.stamp_ns - trigger_ns) * 1e-9 for step in steps])


def _runs(seconds: np.ndarray, values: Sequence[object]) -> Iterable[tuple[float, float, object]]:
    """Yield start, end and value of every stretch of equal values."""
    start = 0
    for index in range(1, len(values) + 1):
        if index == len(values) or values[index] != values[start]:
            yield seconds[start], seconds[min(index, len(values) - 1)], values[start]
            start = index


def _draw_states(panel: Axes, seconds: np.ndarray, steps: Sequence[Step]) -> None:
    whole = max(seconds[-1] - seconds[0], 1e-9)
    for start, end, state in _runs(seconds, [step.state for step in steps]):
        panel.axvspan(start, end, color=STATE_COLOURS.get(str(state), 'white'), linewidth=0.0)
        # 0.011 of the width per letter: what does not fit would only be a smear.
        if (end - start) / whole > 0.011 * len(str(state)):
            centre = (start + end) / 2
            name = printable(str(state))
            panel.text(centre, 0.5, name, ha='center', va='center', fontsize=9, clip_on=True)
    panel.set_yticks([])
    panel.set_ylim(0.0, 1.0)
    panel.set_ylabel('state', rotation=0, ha='right', va='center')


def _draw_velocity(
    panel: Axes,
    seconds: np.ndarray,
    steps: Sequence[Step],
    axis: int,
    limits: dict[str, float],
) -> None:
    reach = [0.0]
    for name, style in (
        ('wanted', {'color': '#999999', 'linewidth': 1.0, 'linestyle': '--'}),
        ('allowed', {'color': '#4575b4', 'linewidth': 1.0}),
        ('published', {'color': '#d73027', 'linewidth': 1.8}),
    ):
        values = np.array([getattr(step, name)[axis] for step in steps])
        # NaN fails this too.
        sane = np.abs(values) < FARTHEST
        reach += [*values[sane]]
        shown = np.where(sane, values, np.nan)
        panel.plot(seconds, shown, label=name, drawstyle='steps-post', **style)
        if not sane.all():
            zeros = np.zeros(np.count_nonzero(~sane))
            panel.plot(seconds[~sane], zeros, 'kx', label=f'{name}: no velocity')
    limit = limits.get('max_speed', 0.0)
    for side in (-limit, limit):
        # Of a robot that only drove ahead, the limit backwards says nothing.
        if min(reach) < 0.0 or side > 0.0:
            panel.axhline(side, color='#888888', linewidth=0.8, linestyle=(0, (1, 2)))
            reach.append(side)
    room = 0.1 * max(max(reach) - min(reach), 0.01)
    panel.set_ylim(min(reach) - room, max(reach) + 3.0 * room)
    panel.set_ylabel(f'{AXES[axis]}\n{AXIS_UNITS[axis]}')
    panel.legend(loc='upper left', ncols=4, fontsize=8, framealpha=0.7)
    panel.grid(alpha=0.3)


def _draw_ages(
    panel: Axes,
    seconds: np.ndarray,
    steps: Sequence[Step],
    limits: Mapping[str, Mapping[str, float]],
) -> None:
    ages = {name: np.array([getattr(step, name) for step in steps]) for name in AGE_COLOURS}
    # NaN: never heard.
    heard = {name: values for name, values in ages.items() if not np.isnan(values).all()}
    bounds = {name: [*limits.get(name, {}).values()] for name in heard}
    longest = max((np.nanmax(values) for values in heard.values()), default=0.0)
    top = max([0.1, min(longest, _LONGEST_AGE), *itertools.chain(*bounds.values())])
    for name, values in heard.items():
        colour = AGE_COLOURS[name]
        shown = np.clip(values, 0.0, top)
        panel.plot(seconds, shown, color=colour, linewidth=1.1, label=name.removesuffix('_age'))
        for limit in bounds[name]:
            panel.axhline(limit, color=colour, linewidth=0.7, linestyle=':')
    # Room for the legend.
    panel.set_ylim(0.0, 1.4 * top)
    panel.set_ylabel('age\ns')
    if panel.get_legend_handles_labels()[0]:
        panel.legend(loc='upper left', ncols=4, fontsize=8, framealpha=0.7)
    else:
        panel.text(0.5, 0.5, 'nothing was heard', transform=panel.transAxes, ha='center')
    panel.grid(alpha=0.3)


def _draw_causes(
    panel: Axes, seconds: np.ndarray, steps: Sequence[Step], causes: Sequence[str]
) -> None:
    for row, cause in enumerate(causes):
        for start, end, active in _runs(seconds, [cause in step.causes for step in steps]):
            if active:
                panel.barh(row, max(end - start, 0.02), left=start, height=0.7, color='#fc8d59')
    panel.set_yticks(range(len(causes)), map(printable, causes), fontsize=8)
    panel.set_ylim(max(1, len(causes)) - 0.4, -0.6)
    panel.set_ylabel('causes' if causes else 'no cause')
    panel.grid(axis='x', alpha=0.3)


def _lines(recording: Recording) -> list[str]:
    """Return what the gate said, and what is wrong with the file."""
    torn = [f'torn: {recording.torn}'] if recording.torn else []
    lines = [*events(recording), *torn]
    return [line[:_LONGEST_LINE] for line in lines] or ['no events were heard']
