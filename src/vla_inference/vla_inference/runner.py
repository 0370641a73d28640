"""What happens in the thread that owns the policy: encode, infer, retry, convert to SI."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable, TypeVar

import numpy as np

from vla_core.errors import (
    ActionRejected,
    CheckpointError,
    ConfigError,
    ObservationError,
    VlaError,
)
from vla_core.policy import Policy
from vla_core.types import Intent, Language, Observation, PolicySpec, Prediction

ResultT = TypeVar('ResultT')
#: A normalised action beyond this is no excess but nonsense (docs/reference/safety.md).
GROSS = 10.0
#: What a fallback must have in common with the policy for which it acts.
_SHARED = (
    *('cameras', 'state_names', 'action_names', 'action_units', 'representation'),
    *('horizon', 'step_dt'),
)
#: A text that every policy here understands, for the warm-up; somebody else's may refuse it.
WARM_UP_TEXT = 'move forward'


@runtime_checkable
class AblatablePolicy(Protocol):
    """A policy that can be run without what it was told (`ablate_language`)."""

    def ablate(self, language: Language) -> Language:
        """Return the language with its features replaced by their training mean."""
        ...


@dataclass(frozen=True)
class Encode:
    """Job: encode a text, once for all its frames."""

    instruction_id: int
    text: str


@dataclass(frozen=True)
class Infer:
    """Job: act on one observation for the instruction that was encoded under this id."""

    instruction_id: int
    observation: Observation


@dataclass(frozen=True)
class Actions:
    """Result of Infer.

    Attributes:
        data: float64 [H, D], SI.
        done: probability that the instruction is fulfilled.
        clipped: numbers that were a little outside [-1, 1].
        cured: what failed before it worked after all; empty if nothing did.
    """

    data: np.ndarray
    done: float
    clipped: int = 0
    cured: str = ''


Job = Encode | Infer
Answer = Language | Actions


def to_si(prediction: Prediction, spec: PolicySpec) -> tuple[np.ndarray, int]:
    """Convert the model's [-1, 1] to SI; small excess is clipped, nonsense refused.

    Returns:
        float64 [H, D], and how many numbers were clipped.

    Raises:
        ActionRejected: if the shape is not the contract's or a number is beyond GROSS.
    """
    actions = np.asarray(prediction.actions, dtype=np.float64)
    expected = (spec.horizon, len(spec.action_names))
    if actions.shape != expected:
        raise ActionRejected(
            f'actions of shape {actions.shape}: {spec.model_id} promises {expected}'
        )
    largest = float(np.abs(actions).max())
    if not largest <= GROSS:
        raise ActionRejected(f'normalised action {largest}: expected at most {GROSS} in magnitude')
    excess = int(np.count_nonzero(np.abs(actions) > 1.0))
    return spec.to_si(np.clip(actions, -1.0, 1.0)), excess


def example(spec: PolicySpec) -> Observation:
    """Return a grey observation that fits the contract, for the warm-up."""
    images = {
        slot.name: np.full((slot.height, slot.width, 3), 128, np.uint8) for slot in spec.cameras
    }
    return Observation(images, 0, np.zeros(len(spec.state_names)), spec.state_names)


class Runner:
    """Handler of the worker: one policy, and perhaps another that acts where it fails."""

    def __init__(
        self, policy: Policy, fallback: Policy | None = None, ablate_language: bool = False
    ) -> None:
        """Take the policies over and warm them up.

        Args:
            policy: acts.
            fallback: acts for a frame on which `policy` failed twice; None: nobody does.
            ablate_language: run blind.

        Raises:
            ConfigError: if the fallback's contract differs, or the policy cannot run blind.
            CheckpointError: if a policy fails on a grey picture.
        """
        if ablate_language and not isinstance(policy, AblatablePolicy):
            raise ConfigError(
                f'ablate_language is true: {policy.spec.model_id} has no training mean of its '
                'language features; expected false'
            )
        self.spec = policy.spec
        self._policy = policy
        self._fallback = fallback
        self._ablate = ablate_language
        self._job: Encode | None = None
        self._language: Language | None = None
        self._fallback_language: Language | None = None
        for candidate in (policy, fallback):
            if candidate is not None:
                self._require_contract(candidate)
                self._warm_up(candidate)

    def handle(self, job: Job) -> Answer:
        """Do one job; whatever is raised failed twice."""
        if isinstance(job, Encode):
            self._job, self._language, self._fallback_language = job, None, None
            language, _ = _twice(lambda: self._encode(job.text))
            self._language = language
            return language
        if self._job is None or self._job.instruction_id != job.instruction_id:
            raise VlaError(f'instruction {job.instruction_id} was not encoded by this worker')
        if self._language is None:
            raise VlaError(f'instruction {job.instruction_id} could not be encoded')
        return self._act(job.observation, self._language, self._job.text)

    def close(self) -> None:
        """Release the policies."""
        self._policy.close()
        if self._fallback is not None:
            self._fallback.close()

    def _encode(self, text: str) -> Language:
        language = self._policy.encode(text)
        if self._ablate and isinstance(self._policy, AblatablePolicy):
            return self._policy.ablate(language)
        return language

    def _act(self, observation: Observation, language: Language, text: str) -> Actions:
        try:
            actions, cured = _twice(lambda: _infer(self._policy, observation, language))
        except ObservationError:
            raise
        except Exception as error:
            if self._fallback is None:
                raise
            actions = self._fall_back(self._fallback, observation, text)
            cured = f'fallback acted: {error}'
        return Actions(actions.data, actions.done, actions.clipped, cured)

    def _fall_back(self, fallback: Policy, observation: Observation, text: str) -> Actions:
        if self._fallback_language is None:
            self._fallback_language = fallback.encode(text)
        if self._fallback_language.intent is Intent.REFUSED:
            raise VlaError(f'fallback {fallback.spec.model_id} does not understand the text')
        return _infer(fallback, observation, self._fallback_language)

    def _require_contract(self, other: Policy) -> None:
        for label in _SHARED:
            mine, theirs = getattr(self.spec, label), getattr(other.spec, label)
            if mine != theirs:
                raise ConfigError(
                    f'fallback {other.spec.model_id}: {label} {theirs}: '
                    f'{self.spec.model_id} has {mine}'
                )

    @staticmethod
    def _warm_up(policy: Policy) -> None:
        try:
            language = policy.encode(WARM_UP_TEXT)
            if language.intent is Intent.REFUSED:
                return  # Nobody is asked to act on a text that he refuses.
            # Twice: the second run shows that the first one left nothing behind.
            for _ in range(2):
                _infer(policy, example(policy.spec), language)
        except Exception as error:
            raise CheckpointError(
                f'{policy.spec.model_id} fails on a grey picture: {type(error).__name__}: {error}'
            ) from error


def _infer(policy: Policy, observation: Observation, language: Language) -> Actions:
    prediction = policy.infer(observation, language)
    data, clipped = to_si(prediction, policy.spec)
    return Actions(data, prediction.done, clipped)


def _twice(attempt: Callable[[], ResultT]) -> tuple[ResultT, str]:
    """Try again once; return the result and what failed first."""
    try:
        return attempt(), ''
    except ObservationError:
        # The same picture is wrong the second time too.
        raise
    except Exception as error:
        return attempt(), f'second attempt worked: {error}'
