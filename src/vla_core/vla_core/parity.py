"""How far an optimised checkpoint is from its reference: the section `parity` of its manifest.

The limits are constants, not part of the file: an artefact cannot allow itself more.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
import math
from typing import Any

from vla_core.errors import CheckpointError

#: Root mean square of the differences, in units of the reference's own deviation on that axis.
LARGEST_RMS = 0.05
#: Largest single difference, in the same units. Rounding errors of this root mean square stay well
#: below six times that even over a million values; what is beyond is another decision.
LARGEST_SINGLE = 6 * LARGEST_RMS
#: Deviations below this share of the axis's scale count as this: smaller changes are none.
RESOLUTION = 1e-3
#: Frames below which the figures mean nothing: compared, and timed.
FEWEST_FRAMES = 100
FEWEST_TIMED = 10
#: Nobody compares or times as many frames, and no machine has as many cores.
MOST = 10**9


@dataclass(frozen=True)
class Reference:
    """The checkpoint that was optimised.

    Attributes:
        model_id: its name.
        sha256: of its manifest, hex.
        path: of its folder, relative to that of the optimised one.
    """

    model_id: str
    sha256: str
    path: str


@dataclass(frozen=True)
class AxisError:
    """Differences on one action axis over all frames and steps, in its unit.

    Attributes:
        unit: SI.
        mean: mean magnitude.
        rms: root mean square.
        max: largest magnitude.
        deviation: standard deviation over the frames of what the reference does, each step of a
            chunk around its own mean; at least RESOLUTION of the scale.
    """

    unit: str
    mean: float
    rms: float
    max: float
    deviation: float


@dataclass(frozen=True)
class Timing:
    """Both on one kind of machine, frame by frame in turns, with the instruction cached.

    Attributes:
        processor: its name.
        cores: it may use.
        frames: of each.
        p50: s, of the optimised one.
        reference_p50: s.
    """

    processor: str
    cores: int
    frames: int
    p50: float
    reference_p50: float


@dataclass(frozen=True)
class Parity:
    """What is known of an optimised checkpoint.

    Attributes:
        files_sha256: `Manifest.files_sha256` of the folder that was compared.
        settings_sha256: `Manifest.settings_sha256` of it.
        policy: entry point that ran it.
        variant: how it was made.
        reference: what it was made of and compared with.
        source: of the frames, for a person.
        frames: compared.
        axes: by action name.
        timings: of the machines on which it was timed.
    """

    files_sha256: str
    settings_sha256: str
    policy: str
    variant: str
    reference: Reference
    source: str
    frames: int
    axes: Mapping[str, AxisError]
    timings: tuple[Timing, ...] = ()

    def excess(self) -> str:
        """Say which error exceeds the limits; empty if none does."""
        if not self.frames >= FEWEST_FRAMES:
            return f'compared on {self.frames} frames: expected at least {FEWEST_FRAMES}'
        for name, axis in self.axes.items():
            # Roundings of equal differences may break the order by a last bit.
            if not (axis.mean <= 1.001 * axis.rms and axis.rms <= 1.001 * axis.max):
                return (
                    f'differences on {name}: mean {axis.mean:.4g}, root mean square '
                    f'{axis.rms:.4g}, largest {axis.max:.4g}: expected in ascending order'
                )
            for label, value, share in (
                ('root mean square', axis.rms, LARGEST_RMS),
                ('largest', axis.max, LARGEST_SINGLE),
            ):
                limit = share * axis.deviation
                if not 0.0 <= value <= limit:
                    return (
                        f'{label} difference on {name} is {value:.4g} {axis.unit}: expected at '
                        f'most {limit:.4g}, {100 * share:g} % of the deviation'
                    )
        return ''

    def timing(self, processor: str, cores: int) -> Timing | None:
        """Return what was measured on such a machine; None if nothing was."""
        found = [t for t in self.timings if (t.processor, t.cores) == (processor, cores)]
        return found[-1] if found else None

    def timed(self, timing: Timing) -> 'Parity':
        """Return it with a measurement that takes the place of the one of the same machine."""
        others = (
            old
            for old in self.timings
            if (old.processor, old.cores) != (timing.processor, timing.cores)
        )
        return replace(self, timings=(*others, timing))

    def plain(self) -> dict[str, Any]:
        """Return plain values, for YAML."""
        return vars(self) | {
            'reference': dict(vars(self.reference)),
            'axes': {name: dict(vars(axis)) for name, axis in self.axes.items()},
            'timings': [dict(vars(timing)) for timing in self.timings],
        }

    @classmethod
    def from_plain(cls, data: Mapping[str, Any], where: str = 'parity') -> 'Parity':
        """Read what `plain` gave.

        Raises:
            CheckpointError: if a key is unknown or missing, or a value is of another type, not
                finite, negative or beyond MOST; names the path.
        """
        own = _record(cls, data, where)
        timings = own['timings']
        if not isinstance(timings, list):
            raise CheckpointError(f'{where}.timings is {timings!r}: expected a list')
        if not isinstance(own['axes'], dict):
            raise CheckpointError(f'{where}.axes is {own["axes"]!r}: expected a mapping')
        return cls(
            **own
            | {
                'reference': read_reference(own['reference'], where),
                'axes': {
                    str(name): AxisError(**_record(AxisError, axis, f'{where}.axes.{name}'))
                    for name, axis in own['axes'].items()
                },
                'timings': tuple(
                    Timing(**_record(Timing, timing, f'{where}.timings')) for timing in timings
                ),
            }
        )


def read_reference(data: Any, where: str = 'parity') -> Reference:
    """Read the lineage alone.

    Raises:
        CheckpointError: as `Parity.from_plain`.
    """
    return Reference(**_record(Reference, data, f'{where}.reference'))


def slower(timing: Timing) -> str:
    """Say that the optimised one is slower than its reference; empty if it is not."""
    if timing.frames < FEWEST_TIMED:
        return f'timed on {timing.frames} frames: expected at least {FEWEST_TIMED}'
    # Not faster-or-equal, rather than slower: NaN is no speed, nor is no time at all.
    if 0.0 < timing.p50 <= timing.reference_p50:
        return ''
    return (
        f'{1e3 * timing.p50:.2f} ms per frame, its reference {1e3 * timing.reference_p50:.2f} ms '
        f'({timing.frames} frames, {timing.processor}, {timing.cores} cores)'
    )


def _record(kind: type[Any], data: Any, where: str) -> dict[str, Any]:
    """Check names and simple types of a dataclass's plain values."""
    types = kind.__annotations__
    if not isinstance(data, Mapping) or set(data) != set(types):
        found = sorted(map(str, data)) if isinstance(data, Mapping) else repr(data)
        raise CheckpointError(f'{where}: {found}: expected {sorted(types)}')
    for name, expected in types.items():
        value = data[name]
        if expected in (str, int, float) and type(value) is not expected:
            raise CheckpointError(f'{where}.{name} is {value!r}: expected a {expected.__name__}')
        if expected is int and not 0 <= value <= MOST:
            raise CheckpointError(f'{where}.{name} is {value}: expected 0 to {MOST}')
        if expected is float and not (math.isfinite(value) and value >= 0.0):
            raise CheckpointError(f'{where}.{name} is {value}: expected a finite number >= 0')
    return dict(data)
