"""A checkpoint of the trainer behind the policy protocol, in torch.

The entry point `native`. torch is imported when a policy is made, not with this module, so that a
robot without it can still name the policies there are.

Shape legend: T words, W width of the tokens, H horizon, D axes, G vision tokens.
"""

from __future__ import annotations

from dataclasses import replace
import os
from pathlib import Path

import numpy as np

from vla_core.errors import ActionRejected, CheckpointError, ConfigError
from vla_core.types import Intent, Language, Observation, Prediction

# Spinning OpenMP threads starve beside any other busy process; read when torch is imported.
_ENVIRONMENT = {'OMP_WAIT_POLICY': 'PASSIVE', 'GOMP_SPINCOUNT': '0'}
_WARM_UP_FRAMES = 2


class NativePolicy:
    """The trained network behind the policy protocol; owned by one thread.

    Attributes:
        attention: float32 [heads, 1 + G] of the latest frame, where the action query looked; entry
            0 means "nothing of it in sight", the others are the grid's rows from the top left.
        word_attention: float32 [heads, G, T] of the latest frame, which words each place heard.
    """

    def __init__(self, checkpoint: Path, device: str = 'auto') -> None:
        """Verify and open a checkpoint folder, and run it once.

        Args:
            checkpoint: folder that `vla_learning.checkpoint.save` wrote.
            device: of torch; `auto` is CUDA where there is one, else the CPU.

        Raises:
            CheckpointError: if the folder is not what its manifest says, the device is not there,
                or torch is not installed.
        """
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        try:
            import torch

            from vla_learning.checkpoint import load, load_mean
            from vla_learning.model import encoder_for
        except ModuleNotFoundError as error:
            raise CheckpointError(
                f'{checkpoint.name}: a native policy needs {error.name}: '
                'run `make setup-train`, or export it'
            ) from error
        self._torch = torch
        self._device = _choose(torch.cuda.is_available(), device)
        self._policy, manifest = load(checkpoint, self._device)
        self.spec = manifest.spec
        self._slot = self.spec.cameras[0]
        try:
            self._encoder = encoder_for(self._policy)
        except ConfigError as error:
            raise CheckpointError(f'{checkpoint.name}: {error}') from error
        self._mean = load_mean(checkpoint)
        self.attention = np.zeros((0, 0), np.float32)
        self.word_attention = np.zeros((0, 0, 0), np.float32)
        self._warm_up()

    def encode(self, text: str) -> Language:
        """Encode an instruction and let the language head decide what it is."""
        with self._torch.inference_mode():
            features = self._encoder.encode([text])
            tokens, padding = (part.to(self._device) for part in features)
            words = self._policy.language(tokens, padding)
            intent = self._policy.language.intents(tokens, padding)
        return Language(text, Intent(int(intent[0].argmax())), words)

    def ablate(self, language: Language) -> Language:
        """Replace what was said by the mean of training instructions; its intent stays.

        Raises:
            ConfigError: if the checkpoint was saved without any.
        """
        if self._mean is None:
            raise ConfigError(
                f'{self.spec.model_id} was saved without training instructions: '
                'expected one with language_mean.safetensors'
            )
        return replace(language, features=self._mean)

    def infer(self, observation: Observation, language: Language) -> Prediction:
        """Predict the next H actions.

        Raises:
            ObservationError: if the observation does not fit `spec`.
            ActionRejected: if the output is not finite.
        """
        from vla_learning.model import Words

        observation.check(self.spec)
        words = language.features
        if not isinstance(words, Words):
            raise ActionRejected(
                f'instruction {language.text!r} carries {type(words).__name__}: '
                'expected the features of this policy'
            )
        with self._torch.inference_mode():
            pixels = np.ascontiguousarray(observation.images[self._slot.name])
            image = self._torch.tensor(pixels, device=self._device)[None]
            said = Words(*(part.to(self._device) for part in words))
            output = self._policy(image, said)
            actions, done = output.actions[0].double(), output.done[0].sigmoid()
            self.attention = output.attention[0].float().cpu().numpy()
            self.word_attention = output.word_attention[0].float().cpu().numpy()
        return Prediction(actions.cpu().numpy(), float(done))

    def close(self) -> None:
        """Release the network."""
        del self._policy, self._encoder

    def _warm_up(self) -> None:
        """Run once, so that the first frame is as fast as the others and a bad network shows."""
        grey = np.full((self._slot.height, self._slot.width, 3), 128, np.uint8)
        language = self.encode('move forward')
        for _ in range(_WARM_UP_FRAMES):
            self.infer(Observation({self._slot.name: grey}, stamp_ns=0), language)


def create(checkpoint: Path | None, device: str = 'auto') -> NativePolicy:
    """Make the policy for the entry point `native`.

    Raises:
        CheckpointError: if no folder is given, see also `NativePolicy`.
    """
    if checkpoint is None:
        raise CheckpointError('policy native: no checkpoint given: expected a folder')
    return NativePolicy(checkpoint, device)


def _choose(cuda: bool, device: str) -> str:
    if device == 'auto':
        return 'cuda' if cuda else 'cpu'
    if device == 'cpu' or (cuda and device.startswith('cuda')):
        return device
    raise CheckpointError(
        f'policy native: device {device!r}: expected auto, cpu' + ', cuda' * cuda
    )
