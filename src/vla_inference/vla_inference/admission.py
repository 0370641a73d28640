"""Open a checkpoint, or the reference it was optimised from if it is not as good or as fast."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter

from vla_core.admission import admit, find_reference
from vla_core.errors import CheckpointError, VlaError
from vla_core.machine import kind
from vla_core.parity import Parity, slower, Timing
from vla_core.policy import create_policy, Policy
from vla_core.types import Intent
from vla_inference.runner import example, WARM_UP_TEXT

#: Inferences of each that are timed where nothing is known of this machine, after a few that warm.
TIMED, WARMING = 30, 5


class UntimedError(VlaError):
    """There is nothing that an optimised checkpoint could be timed against."""


def open_checkpoint(folder: Path, device: str, report: Callable[[str, bool], None]) -> Policy:
    """Make the policy of a checkpoint folder.

    An optimised one is refused if its report is missing, of other files or beyond the limits, if
    it cannot be opened or does not run here, or if it is slower than its reference here; the
    reference takes its place and `report` says why. One that nothing is known against but that
    cannot be timed, because its reference cannot be, drives, and `report` says that.

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
    except VlaError as error:
        if parity is None:
            raise
        return _open_reference(folder, device, str(error), report)
    if parity is None:
        return policy
    try:
        reason = slower(_timing(parity, policy, folder, device))
    except UntimedError as error:
        report(f'{folder.name}: not timed against its reference: {error}', False)
        return policy
    except VlaError as error:
        reason = str(error)
    if not reason:
        return policy
    policy.close()
    return _open_reference(folder, device, f'{folder.name}: {reason}', report)


def time_in_turns(
    policy: Policy,
    reference: Policy,
    device: str = 'cpu',
    frames: int = TIMED,
    clock: Callable[[], float] = perf_counter,
) -> Timing:
    """Time both on a grey picture, in turns, so that what else runs here slows both alike.

    Raises:
        CheckpointError: if the policy does not run, or takes the text of the warm-up for what its
            reference does not.
        UntimedError: if the reference does not run, or both refuse that text.
    """
    both = (policy, CheckpointError), (reference, UntimedError)
    observation = example(policy.spec)
    languages = []
    for one, failure in both:
        with _named(one, failure):
            languages.append(one.encode(WARM_UP_TEXT))
    intent, expected = (language.intent for language in languages)
    if intent is not expected:
        raise CheckpointError(
            f'{WARM_UP_TEXT!r} is taken for {intent.name}: expected {expected.name}, as by the '
            'reference'
        )
    if intent is Intent.REFUSED:
        raise UntimedError(f'both refuse {WARM_UP_TEXT!r}')
    seconds: tuple[list[float], list[float]] = [], []
    for number in range(WARMING + frames):
        for (one, failure), language, taken in zip(both, languages, seconds, strict=True):
            with _named(one, failure):
                before = clock()
                one.infer(observation, language)
                after = clock()
            if number >= WARMING:
                taken.append(after - before)
    return Timing(*kind(device), frames, median(seconds[0]), median(seconds[1]))


@contextmanager
def _named(policy: Policy, failure: type[VlaError]) -> Iterator[None]:
    """Raise whatever a policy raises as `failure`, with its name."""
    try:
        yield
    except Exception as error:  # runtimes raise what they please
        raise failure(f'{policy.spec.model_id} does not run: {error}') from error


def _timing(parity: Parity, policy: Policy, folder: Path, device: str) -> Timing:
    """Look up how fast both are on this kind of machine; measure it if nobody has."""
    known = parity.timing(*kind(device))
    if known is not None:
        return known
    try:
        manifest = find_reference(folder, 'how fast both are here is not known')
        reference = create_policy(manifest.policy, manifest.folder, device)
    except VlaError as error:
        raise UntimedError(str(error)) from error
    with closing(reference):
        return time_in_turns(policy, reference, device)


def _open_reference(
    folder: Path, device: str, reason: str, report: Callable[[str, bool], None]
) -> Policy:
    manifest = find_reference(folder, reason)
    report(_instead(manifest.spec.model_id, reason), False)
    return create_policy(manifest.policy, manifest.folder, device)


def _instead(model_id: str, reason: str) -> str:
    return f'the reference {model_id} is used instead: {reason}'
