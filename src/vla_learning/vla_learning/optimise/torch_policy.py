"""A network of torch behind the policy protocol, with nothing remembered between calls.

Shape legend: T words.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn, Tensor
from torch.nn import functional

from vla_core.errors import ConfigError
from vla_core.types import Intent, Language, Observation, PolicySpec, Prediction
from vla_learning.data.batch import Features
from vla_learning.model import Ids, Policy, Words
from vla_learning.model.minilm import open_encoder
from vla_learning.optimise.subject import Subject

#: Picture and words to actions [1, H, D] and the probability that it is done [1].
See = Callable[[Tensor, Words], tuple[Tensor, Tensor]]


class TorchPolicy:
    """The network as some variant runs it; owned by one thread.

    Attributes:
        pad_to: words to which every instruction is padded, as the seed did; 0: none.
    """

    def __init__(
        self,
        subject: Subject,
        see: See | None = None,
        listen: nn.Module | None = None,
        device: str = 'cpu',
    ) -> None:
        """Take over how a frame is computed.

        Args:
            subject: the network.
            see: computes a frame; None: the network itself, eagerly.
            listen: BERT instead of the network's own.
            device: of the network.
        """
        self.spec: PolicySpec = subject.manifest.spec
        self._policy: Policy = subject.policy
        self._mean = subject.mean
        self._see = eager(subject.policy) if see is None else see
        self._device = device
        bert = subject.policy.encoder
        self._bert = bert
        # A compiled module has no truth value.
        self._listen = bert if listen is None else listen
        self._minilm = open_encoder() if bert is None else None
        self.pad_to = 0

    @torch.no_grad()
    def encode(self, text: str) -> Language:
        """Run the whole language side."""
        features = self._embed(text)
        words = self._policy.language(*features)
        intent = self._policy.language.intents(*features)
        return Language(text, Intent(int(intent[0].argmax())), words)

    def ablate(self, language: Language) -> Language:
        """Replace what was said by the mean of training instructions.

        Raises:
            ConfigError: if there is none.
        """
        if self._mean is None:
            raise ConfigError(f'{self.spec.model_id} has no mean of its training instructions')
        return replace(language, features=self._mean)

    @torch.no_grad()
    def infer(self, observation: Observation, language: Language) -> Prediction:
        """Predict the next H actions."""
        observation.check(self.spec)
        pixels = np.ascontiguousarray(observation.images[self.spec.cameras[0].name])
        image = torch.from_numpy(pixels).to(self._device)[None]
        words: Any = language.features
        actions, done = self._see(image, words)
        return Prediction(actions[0].double().cpu().numpy(), float(done[0]))

    def close(self) -> None:
        """Nothing to release."""

    def _embed(self, text: str) -> Features:
        if self._minilm is not None:
            tokens = torch.from_numpy(self._minilm(text))[None].to(self._device)
            padding = torch.zeros(tokens.shape[:2], dtype=torch.bool, device=self._device)
            return Features(tokens, padding)
        assert self._bert is not None  # noqa: S101 (one of the two)
        assert self._listen is not None  # noqa: S101
        said = self._bert.tokenize([text])
        if self.pad_to:
            more = (0, max(0, self.pad_to - said.ids.shape[1]))
            said = Ids(functional.pad(said.ids, more), functional.pad(said.padding, more, value=1))
        return self._listen(said)


def eager(policy: Policy) -> See:
    """Compute a frame as the trainer does."""

    def see(image: Tensor, words: Words) -> tuple[Tensor, Tensor]:
        output = policy(image.float(), words)
        return output.actions, output.done.sigmoid()

    return see


def graph(module: Callable[..., Any]) -> See:
    """Compute a frame by something made of `PolicyGraph`, which knows no padding."""

    def see(image: Tensor, words: Words) -> tuple[Tensor, Tensor]:
        actions, done, _ = module(image, words.tokens, words.pooled)
        return actions, done

    return see
