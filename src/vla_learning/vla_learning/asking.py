"""Put the questions to a policy and write down what it answers, and how long it takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from vla_core.errors import ConfigError
from vla_core.manifest import FILE_NAME, load_manifest
from vla_core.policy import create_policy, Policy, policy_names
from vla_core.types import Intent, Language, Observation, POSITION
from vla_learning.answers import Answers, EvaluationError, join
from vla_learning.questions import Question, Scene

#: Inferences at the start that are not timed: memory is still being laid out.
_WARM_UP = 10
#: Languages kept, and pictures kept for the report.
_REMEMBERED = 256
_KEPT_SCENES = 64


@dataclass(frozen=True)
class Asked:
    """Everything that came of the questions.

    Attributes:
        answers: of the policy.
        encoding: s, of each new sentence.
        scenes: the first of them, for pictures; numbered as in `answers.scene`.
    """

    answers: Answers
    encoding: np.ndarray
    scenes: tuple[Scene, ...]


class Listener:
    """A policy that is asked; blind, it hears the mean of all sentences instead of the words.

    Args:
        policy: who is asked.
        blind: take the words away.

    Raises:
        EvaluationError: if it is to be blind, but cannot.
    """

    def __init__(self, policy: Policy, blind: bool = False) -> None:
        if blind and not hasattr(policy, 'ablate'):
            raise EvaluationError(
                f'{policy.spec.model_id} cannot be made blind: expected a policy with `ablate`'
            )
        self.policy = policy
        self.encoding: list[float] = []
        self._blind = blind
        self._heard: set[str] = set()
        self._language = lru_cache(_REMEMBERED)(self._encode)

    def ask(self, scene: Scene, question: Question, number: int) -> Mapping[str, Any]:
        """Return one row of the answers."""
        language = self._language(question.text)
        observation = Observation({self.policy.spec.cameras[0].name: scene.image}, number)
        before = perf_counter()
        prediction = self.policy.infer(observation, language)
        seconds = perf_counter() - before
        return {
            'group': scene.group,
            'scene': number,
            'kind': question.kind,
            'meaning': question.meaning,
            'topic': question.topic,
            'text': question.text,
            'predicted': np.clip(prediction.actions, -1.0, 1.0),
            'done': prediction.done,
            'refused': language.intent is Intent.REFUSED,
            'target': question.target,
            'valid': question.valid,
            'moving': [unit != POSITION for unit in self.policy.spec.action_units],
            'seconds': seconds,
        }

    def _encode(self, text: str) -> Language:
        before = perf_counter()
        language = self.policy.encode(text)
        # A text that was asked for before may be remembered by the policy itself.
        if text not in self._heard:
            self._heard.add(text)
            self.encoding.append(perf_counter() - before)
        return self.policy.ablate(language) if self._blind else language  # type: ignore[attr-defined]


def ask_all(listener: Listener, scenes: Iterable[Scene]) -> Asked:
    """Ask every question of every scene."""
    kept: list[Scene] = []

    def rows() -> Iterator[Mapping[str, Any]]:
        for number, scene in enumerate(scenes):
            if number < _KEPT_SCENES:
                kept.append(scene)
            if number == 0:
                for _ in range(_WARM_UP):
                    listener.ask(scene, scene.questions[0], 0)
            for question in scene.questions:
                yield listener.ask(scene, question, number)

    answers = join(rows())
    return Asked(answers, np.array(listener.encoding), tuple(kept))


def open_policy(name: str, device: str = 'auto') -> Policy:
    """Make the policy of an entry point, or of a checkpoint folder.

    Raises:
        ConfigError: if it is neither.
        CheckpointError: if the folder's files do not match its manifest.
    """
    if name in policy_names():
        return create_policy(name, None, device)
    folder = Path(name)
    if not (folder / FILE_NAME).is_file():
        raise ConfigError(
            f'policy {name!r}: expected one of {policy_names()} or a folder with {FILE_NAME}'
        )
    return create_policy(load_manifest(folder).policy, folder, device)
