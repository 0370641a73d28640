"""Open a checkpoint, or the reference it was optimised from if it is not as good or as fast."""

from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

from vla_core.admission import admit, find_reference
from vla_core.errors import CheckpointError, ConfigError
from vla_core.machine import kind
from vla_core.parity import Parity, slower, Timing
from vla_core.policy import create_policy, Policy
from vla_core.types import Intent
from vla_inference.runner import example, WARM_UP_TEXT

#: Inferences of each that are timed where nothing is known of this machine, after a few that warm.
TIMED, WARMING = 30, 5


def open_checkpoint(folder: Path, device: str, report: Callable[[str, bool], None]) -> Policy:
    """Make the policy of a checkpoint folder.

    An optimised one is refused if its report is missing, of other files or beyond the limits, if
    it cannot be opened here, or if it is slower than its reference here; the reference takes its
    place and `report` says why.

    Args:
        folder: of the checkpoint.
        device: of the policy.
        report: tells a person what is wrong, and whether it is severe.

    Raises:
        CheckpointError: if the checkpoint is refused and there is no sound reference.
    """
    admitted = admit(folder)
    manifest, parity = admitted.manifest, admitted.parity
    if admitted.refused:
        report(_instead(manifest.spec.model_id, admitted.refused), False)
    try:
        policy = create_policy(manifest.policy, manifest.folder, device)
    except (CheckpointError, ConfigError) as error:
        if parity is None:
            raise
        return _open_reference(folder, device, str(error), report)
    if parity is None:
        return policy
    try:
        reason = slower(_timing(parity, policy, folder, device))
    except (CheckpointError, ConfigError) as error:
        # Nothing to compare with, and nothing to fall back to.
        report(f'{folder.name}: not timed against its reference: {error}', False)
        return policy
    if not reason:
        return policy
    policy.close()
    return _open_reference(folder, device, f'{folder.name}: {reason}', report)


def time_in_turns(
    policy: Policy,
    reference: Policy,
    frames: int = TIMED,
    clock: Callable[[], float] = perf_counter,
) -> Timing:
    """Time both on a grey picture, in turns, so that what else runs here slows both alike.

    Raises:
        CheckpointError: if one of them does not understand the text of the warm-up.
    """
    observation = example(policy.spec)
    languages = [one.encode(WARM_UP_TEXT) for one in (policy, reference)]
    for one, language in zip((policy, reference), languages, strict=True):
        if language.intent is Intent.REFUSED:
            raise CheckpointError(f'{one.spec.model_id} does not understand {WARM_UP_TEXT!r}')
    seconds: tuple[list[float], list[float]] = [], []
    for number in range(WARMING + frames):
        for one, language, taken in zip((policy, reference), languages, seconds, strict=True):
            before = clock()
            one.infer(observation, language)
            if number >= WARMING:
                taken.append(clock() - before)
    return Timing(*kind(), frames, median(seconds[0]), median(seconds[1]))


def _timing(parity: Parity, policy: Policy, folder: Path, device: str) -> Timing:
    """Look up how fast both are on this kind of machine; measure it if nobody has."""
    known = parity.timing(*kind())
    if known is not None:
        return known
    manifest = find_reference(folder, 'speed')
    reference = create_policy(manifest.policy, manifest.folder, device)
    try:
        return time_in_turns(policy, reference)
    finally:
        reference.close()


def _open_reference(
    folder: Path, device: str, reason: str, report: Callable[[str, bool], None]
) -> Policy:
    manifest = find_reference(folder, reason)
    report(_instead(manifest.spec.model_id, reason), False)
    return create_policy(manifest.policy, manifest.folder, device)


def _instead(model_id: str, reason: str) -> str:
    return f'the reference {model_id} is used instead: {reason}'
