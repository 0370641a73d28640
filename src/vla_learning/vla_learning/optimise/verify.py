"""`vla-learn verify`: is an optimised checkpoint as good and as fast here as its report says?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from vla_core.admission import check_parity, find_reference
from vla_core.errors import CheckpointError, ConfigError
from vla_core.manifest import load_manifest, write_parity
from vla_core.parity import FEWEST_FRAMES, FEWEST_TIMED, Parity, slower


@dataclass(frozen=True)
class Verify:
    """Compare an optimised checkpoint with its reference on this machine; status 1 if it fails.

    Attributes:
        folder: of the optimised checkpoint.
        record: write what was timed into its manifest, so that a robot does not time it itself.
        data: recordings to compare on; without it the simulator.
        fps: frames per second of recordings that do not say it.
        camera: which picture of the recordings; empty: the first.
        frames: to compare on.
        timed: frames of each to time.
        seed: first layout of the simulator, or of the draw from the recordings.
    """

    folder: Annotated[Path, tyro.conf.Positional]
    record: bool = False
    data: Path | None = None
    fps: float | None = None
    camera: str = ''
    frames: int = 500
    timed: int = 100
    seed: int = 500_000


def command(options: Verify) -> int:
    """Verify, print, and record if asked to; returns the exit status."""
    found, problems = verify(options)
    for name, axis in found.axes.items():
        print(
            f'{name}: mean {axis.mean:.3g}, rms {axis.rms:.3g}, max {axis.max:.3g} {axis.unit}, '
            f'{100 * axis.rms / axis.deviation:.2g} % of the deviation'
        )
    here = found.timings[-1]
    print(
        f'{1e3 * here.p50:.2f} ms per frame, reference {1e3 * here.reference_p50:.2f} ms '
        f'(n = {here.frames}, {here.processor}, {here.cores} cores)'
    )
    for problem in problems:
        print(f'refused: {problem}')
    if options.record and not problems:
        write_parity(options.folder, found.plain())
    return int(bool(problems))


def verify(options: Verify) -> tuple[Parity, list[str]]:
    """Repeat what the report says on this machine.

    Returns:
        The report as it was with the differences found here and this machine's timing, and what
        speaks against the checkpoint.

    Raises:
        ConfigError: if it is none that was optimised, or an option is out of range.
        CheckpointError: if it is damaged, its report is refused, or its reference is not sound.
    """
    from vla_learning.optimise.artefact import asked, time_here
    from vla_learning.optimise.fidelity import axis_errors
    from vla_learning.optimise.sampling import take

    for name, least in (('frames', FEWEST_FRAMES), ('timed', FEWEST_TIMED), ('seed', 0)):
        if getattr(options, name) < least:
            raise ConfigError(f'{name} {getattr(options, name)}: expected >= {least}')
    manifest = load_manifest(options.folder)
    problems = []
    if 'reference' not in manifest.parity:
        raise ConfigError(f'{options.folder.name} is not optimised: expected one that is')
    try:
        parity = check_parity(manifest)
    except CheckpointError as error:
        parity, problems = None, [str(error)]
    if parity is None:
        parity = Parity.from_plain(manifest.parity)
    reference = find_reference(options.folder, 'verify')
    probe, _ = take(
        *(manifest.spec, options.data, options.frames, options.seed, options.fps),
        options.camera,
    )
    expected, here = asked(reference.folder, probe), asked(options.folder, probe)
    axes = axis_errors(expected.actions, here.actions, manifest.spec)
    timing = time_here(options.folder, reference.folder, probe, options.timed, 'auto')
    found = replace(parity, axes=axes, frames=len(probe), source=probe.source)
    found = found.timed(timing)
    excesses = (found.excess(), here.otherwise(expected), slower(timing))
    problems += [text for text in excesses if text]
    return found, problems
