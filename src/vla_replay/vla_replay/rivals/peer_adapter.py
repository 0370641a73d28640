"""Our policy behind the adapter interface of the peer vla_ros2: the same network in its node.

Imported by the peer's runtime only, through the entry point that `vla_replay.rivals.peer` writes.
The exported network, and the text encoded once: what is compared is the peer's way of moving
frames and actions, not its models.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from vla_core.manifest import load_manifest
from vla_core.policy import create_policy
from vla_core.preprocess import resize
from vla_core.types import Language, Observation
from vla_replay.rivals.peer import CHECKPOINT
from vla_ros2.core.model import BaseVLA
from vla_ros2.core.types import ActionSpec, VLAAction, VLAObservation


class Ours(BaseVLA):  # type: ignore[misc]  # the peer is not there when this is checked
    """The peer's `predict` over `vla_core.policy.Policy`."""

    def __init__(self) -> None:
        """Load the checkpoint that the environment names."""
        folder = Path(os.environ[CHECKPOINT])
        self._policy = create_policy(load_manifest(folder).policy, folder, 'cpu')
        self._language: Language | None = None
        names = self._policy.spec.action_names
        super().__init__(
            name='ours',
            model_id=self._policy.spec.model_id,
            # One more number says which frame it was.
            action_spec=ActionSpec('custom', (len(names) + 1,), (*names, 'frame')),
        )

    @classmethod
    def from_config(cls, **settings: Any) -> Ours:
        """Make it; the peer's settings are for other models."""
        return cls()

    def predict_observation(self, observation: VLAObservation) -> VLAAction:
        """Return the first action of the chunk, SI, and the frame's number."""
        frame = observation.images['primary']
        if self._language is None or self._language.text != observation.instruction:
            self._language = self._policy.encode(observation.instruction)
        spec = self._policy.spec
        slot = spec.cameras[0]
        seen = Observation(
            {slot.name: resize(frame, slot)}, 0, np.zeros(len(spec.state_names)), spec.state_names
        )
        first = spec.to_si(self._policy.infer(seen, self._language).actions)[0]
        numbers = np.append(first, float(frame[0, 0, 0])).astype(np.float32)
        return VLAAction(numbers, self.action_spec)
