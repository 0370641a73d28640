"""Export of the winner with its parity report, and the same check again on another machine."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
import os
from pathlib import Path
import shutil
import tempfile

from vla_core import machine
from vla_core.manifest import load_manifest, write_parity
from vla_core.parity import AxisError, Parity, Reference, Timing
from vla_learning.asking import open_policy
from vla_learning.optimise.fidelity import Answers, answers_of, axis_errors
from vla_learning.optimise.measuring import cached_in_turns, Process
from vla_learning.optimise.probe import Probe


def judge(built: Path, reference: Path, variant: str, probe: Probe, frames: int) -> Parity:
    """Compare what a variant wrote with the checkpoint that it was made of, as robots open both.

    Args:
        built: folder of the variant.
        reference: folder of the checkpoint.
        variant: its name.
        probe: frames to compare on.
        frames: to time.
    """
    origin, manifest = load_manifest(reference), load_manifest(built)
    return Parity(
        files_sha256=manifest.files_sha256,
        settings_sha256=manifest.settings_sha256,
        policy=manifest.policy,
        variant=variant,
        reference=Reference(origin.spec.model_id, origin.spec.model_sha256, str(reference)),
        source=probe.source,
        frames=len(probe),
        axes=differences(built, reference, probe),
        timings=(time_here(built, reference, probe, frames),),
    )


def publish(built: Path, folder: Path, parity: Parity) -> None:
    """Write an optimised checkpoint with its report, replacing an earlier one.

    Raises:
        ConfigError: if `folder` holds something that is no checkpoint.
    """
    from vla_learning.checkpoint import new_folder

    origin = Path(parity.reference.path).resolve()
    lineage = replace(parity.reference, path=os.path.relpath(origin, folder.resolve()))
    with new_folder(folder) as draft:
        shutil.copytree(built, draft, dirs_exist_ok=True)
        write_parity(draft, replace(parity, reference=lineage).plain())


def differences(folder: Path, reference: Path, probe: Probe) -> Mapping[str, AxisError]:
    """Compare two checkpoints as robots open them, on all frames."""
    expected, found = asked(reference, probe), asked(folder, probe)
    return axis_errors(expected.actions, found.actions, load_manifest(folder).spec)


def asked(folder: Path, probe: Probe) -> Answers:
    """Ask a checkpoint, as a robot opens it, about all frames."""
    with closing(open_policy(str(folder), 'cpu')) as policy:
        return answers_of(policy, probe)


def time_here(
    folder: Path, reference: Path, probe: Probe, frames: int, device: str = 'cpu'
) -> Timing:
    """Time two checkpoints in turns on this machine; `auto` is the GPU for what can use it."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / 'probe.npz'
        probe.save(file)
        with (
            Process.of_checkpoint(folder, file, device) as one,
            Process.of_checkpoint(reference, file, device) as other,
        ):
            latency = cached_in_turns(one, other, frames)
    return Timing(*machine.kind(device), latency.frames, latency.p50, latency.against)
