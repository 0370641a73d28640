"""What a policy is, and how one is found by name.

Policies register under the entry-point group `vla.policies`: name -> factory called with
`(checkpoint: pathlib.Path | None, device: str)`. A folder with a manifest is loaded by the factory
that its manifest names, so that no node depends on a backend.
"""

from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from vla_core.errors import CheckpointError, ConfigError
from vla_core.types import (
    CameraSlot,
    Intent,
    Language,
    NATIVE_AXES,
    NATIVE_UNITS,
    Observation,
    PolicySpec,
    Prediction,
)

GROUP = 'vla.policies'


def native_spec(model_id: str) -> PolicySpec:
    """Return the contract of the built-in policies, which is that of the simulated robot's demo.

    They declare a camera slot so that their chunks come with every frame, as any policy's do.
    """
    return PolicySpec(
        model_id=model_id,
        cameras=(CameraSlot('front', 192, 96, 'crop'),),
        action_names=NATIVE_AXES,
        action_units=NATIVE_UNITS,
        action_scale=(1.0,) * len(NATIVE_AXES),
        horizon=8,
        step_dt=0.1,
        rate=30.0,
    )


@runtime_checkable
class Policy(Protocol):
    """Language and observations in, normalised action chunks out; owned by one thread."""

    spec: PolicySpec

    def encode(self, text: str) -> Language:
        """Encode an instruction once; the result serves every frame until the next text."""
        ...

    def infer(self, observation: Observation, language: Language) -> Prediction:
        """Predict the next H actions.

        Raises:
            ObservationError: if the observation does not fit `spec`.
            ActionRejected: if the model's output is not finite.
        """
        ...

    def close(self) -> None:
        """Release the model."""
        ...


class HoldPolicy:
    """Stand still whatever is said: the policy of tests, of kill benchmarks and of last resort."""

    def __init__(self, spec: PolicySpec) -> None:
        """Stand still in the action space of `spec`."""
        self.spec = spec

    def encode(self, text: str) -> Language:
        """Accept every text as a motion: standing still can be held for as long as one likes."""
        return Language(text, Intent.MOTION)

    def infer(self, observation: Observation, language: Language) -> Prediction:
        """Return zeros."""
        observation.check(self.spec)
        return Prediction(np.zeros((self.spec.horizon, len(self.spec.action_names))))

    def close(self) -> None:
        """Nothing to release."""


def create_hold(checkpoint: Path | None, device: str) -> HoldPolicy:
    """Make the policy for the entry point `hold`; it has no weights and needs no device."""
    return HoldPolicy(native_spec('hold'))


def policy_names() -> list[str]:
    """Names of all registered policies."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


def create_policy(name: str, checkpoint: Path | None, device: str = 'auto') -> Policy:
    """Make the policy that is registered as `name`.

    Raises:
        ConfigError: if no such policy is registered; the message lists those that are.
        CheckpointError: if its factory returns something that is not a policy.
    """
    for entry in entry_points(group=GROUP):
        if entry.name == name:
            policy = entry.load()(checkpoint, device)
            if not isinstance(policy, Policy):
                raise CheckpointError(f'{entry.value} made a {type(policy).__name__}, no Policy')
            return policy
    raise ConfigError(f'policy {name!r}: expected one of {policy_names()} or a checkpoint folder')
