"""The commands `vla replay check` and `vla replay bless`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console

from vla_core.errors import ConfigError, VlaError
from vla_replay.bag.clock_set import refuse_clock_set
from vla_replay.bag.reader import BagReader
from vla_replay.compare import Check as Line
from vla_replay.compare import compare, Tolerance
from vla_replay.errors import BagError
from vla_replay.options import Bless, Check, Playing
from vla_replay.report import draw, show, write_json, write_junit
from vla_replay.schedule import find_frames, frame_span, playable
from vla_replay.trace import load, save, Trace

if TYPE_CHECKING:
    from vla_replay.replaying import Speed

#: Of a live drive: its texts came between its frames.
_LIVE_UNMATCHED = 0.05


def check(options: Check) -> int:
    """Play and compare; return 0 if all is within tolerance, 1 if not, 2 without a judgement."""
    console = Console()
    try:
        tolerance = _tolerance(options)
        golden = load(options.golden) if options.golden is not None else _live(options)
        found, speed = _replay(options, console)
        _same_recording(golden, found)
        checks = compare(golden, found, tolerance)
        _write(checks, golden, found, options)
    # OSError: what is written there is the judgement.
    except (VlaError, OSError) as error:
        Console(stderr=True, soft_wrap=True).print(
            f'vla replay check: not judged: {error}', markup=False
        )
        return 2
    show(checks, golden, found, console)
    console.print(str(speed))
    failures = [line.failure for line in checks if line.failure]
    console.print(
        f'{options.output}: check.json, check.xml, tracks.png; '
        + (f'{len(failures)} of {len(checks)} over tolerance' if failures else 'passed')
    )
    return 1 if failures else 0


def bless(options: Bless) -> int:
    """Play and write the golden file; return 0.

    Raises:
        BagError: if no frame was answered by the policy, or the file cannot be written.
        VlaError: if the recording cannot be played.
    """
    console = Console()
    trace, speed = _replay(options, console)
    try:
        options.golden.parent.mkdir(parents=True, exist_ok=True)
        save(trace, options.golden)
    except OSError as error:
        raise BagError(
            f'golden {options.golden}: {error.strerror}: expected a file to write'
        ) from error
    console.print(str(speed))
    console.print(
        f'{options.golden}: {len(trace.chunks.frame)} chunks, '
        f'{options.golden.stat().st_size / 1000:.0f} kB'
    )
    return 0


def _tolerance(options: Check) -> Tolerance:
    unmatched = options.unmatched
    if unmatched is None:
        unmatched = 0.0 if options.golden is not None else _LIVE_UNMATCHED
    values = {
        'linear': options.linear,
        'angular': options.angular,
        'other': options.other,
        'unmatched': unmatched,
    }
    for name, value in values.items():
        if not 0.0 <= value < 1e9:
            raise ConfigError(f'{name} is {value}: expected a finite number >= 0')
    if unmatched > 1.0:
        raise ConfigError(f'unmatched is {unmatched}: expected 0 to 1, a share of the frames')
    return Tolerance(**values)


def _same_recording(golden: Trace, found: Trace) -> None:
    """Refuse to compare what two recordings, or two instructions, have led to."""
    for name in ('content', 'instruction', 'part'):
        if name in golden.facts and golden.facts[name] != found.facts[name]:
            raise BagError(
                f'{name} of the recording is {found.facts[name]!r}: expected '
                f'{golden.facts[name]!r}, as in the golden file of {golden.facts["recording"]}'
            )


def _live(options: Playing) -> Trace:
    """Return what the live drive did in the part that is played."""
    from vla_replay.messages import recorded_trace
    from vla_replay.replaying import check_part

    check_part(options)
    facts = {'source': 'the live drive', 'recording': options.bag.name}
    with BagReader(options.bag) as bag:
        refuse_clock_set(bag)
        frames = find_frames(playable(bag, options.camera), options.camera)
        first_ns, last_ns = frame_span(bag, frames, options.start, options.stop)
        return recorded_trace(bag, facts, first_ns, last_ns)


def _write(checks: Sequence[Line], golden: Trace, found: Trace, options: Check) -> None:
    write_json(checks, golden, found, options.output / 'check.json')
    write_junit(checks, options.bag.name, options.output / 'check.xml')
    draw(golden, found, options.output / 'tracks.png')


def _replay(options: Playing, console: Console) -> tuple[Trace, Speed]:
    """Return the trace, and how fast it was."""
    from vla_replay.replaying import replay

    with BagReader(options.bag) as bag, console.status('starting the graph') as status:
        return replay(bag, options, status.update, console.print)
