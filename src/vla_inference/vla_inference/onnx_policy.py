"""An exported policy in onnxruntime: the demo's policy, which never imports torch.

Two graphs: `language.onnx` runs once per instruction, `policy.onnx` once per frame.

Shape legend: T words, W width of the tokens, H horizon, D axes, G vision tokens.
"""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vla_core.errors import ActionRejected, CheckpointError, ConfigError
from vla_core.manifest import IncludedLanguage, load_manifest, Manifest
from vla_core.types import Intent, Language, Observation, Prediction
from vla_inference.encoder import locate, Opener, TokenEncoder
from vla_inference.folding import give_back, open_folded
from vla_inference.sessions import open_session

LANGUAGE_FILE = 'language.onnx'
POLICY_FILE = 'policy.onnx'
MEAN_FILE = 'language_mean.npz'
_WARM_UP_FRAMES = 3


class WordFeatures(NamedTuple):
    """An instruction as `policy.onnx` wants it: tokens float32 [1, T, W], pooled [1, W]."""

    tokens: np.ndarray
    pooled: np.ndarray


class OnnxPolicy:
    """The exported network behind the policy protocol; owned by one thread.

    Attributes:
        attention: float32 [heads, 1 + G] of the latest frame, where the action query looked; entry
            0 means "nothing of it in sight", the others are the grid's rows from the top left.
    """

    def __init__(self, checkpoint: Path, open_graph: Opener = open_session) -> None:
        """Verify and open a checkpoint folder, and run it once.

        Args:
            checkpoint: folder.
            open_graph: of the runtime that computes the graphs in it. An encoder outside the
                folder always runs in onnxruntime, as it did when the policy learned to hear it.

        Raises:
            CheckpointError: if the folder or the language encoder is not what the manifest says,
                or the graphs do not run.
        """
        manifest = load_manifest(checkpoint)
        self.spec = manifest.spec
        self._slot = _only_slot(manifest)
        language, threads = manifest.language, manifest.runtime.threads
        included = isinstance(language, IncludedLanguage)
        self._encoder = TokenEncoder(
            checkpoint / language.file if included else locate(language),
            checkpoint / language.tokenizer,
            language.max_tokens,
            threads,
            open_graph if included else open_folded,
        )
        self._language = open_graph(checkpoint / LANGUAGE_FILE, threads)
        self._file = checkpoint / POLICY_FILE
        self._policy = open_graph(self._file, threads)
        mean = checkpoint / MEAN_FILE
        self._mean = _read_mean(mean) if mean.exists() else None
        self.attention = np.zeros((0, 0), np.float32)
        try:
            self._warm_up()
        except Exception as error:  # runtimes raise what they please
            raise CheckpointError(f'{checkpoint.name} does not run: {error}') from error
        give_back()

    def encode(self, text: str) -> Language:
        """Encode an instruction and let the language head decide what it is."""
        embeddings = self._encoder(text)[None]
        tokens, pooled, intent = self._language.run(
            ['tokens', 'pooled', 'intent'], {'embeddings': embeddings}
        )
        return Language(text, Intent(int(intent[0].argmax())), WordFeatures(tokens, pooled))

    def ablate(self, language: Language) -> Language:
        """Replace what was said by the mean of all training sentences; its intent stays.

        Raises:
            ConfigError: if the checkpoint has none, as one that was imported.
        """
        if self._mean is None:
            raise ConfigError(
                f'{self.spec.model_id} was made without training sentences: expected {MEAN_FILE}'
            )
        return replace(language, features=self._mean)

    def frame_graph(
        self, observation: Observation, language: Language
    ) -> tuple[Path, dict[str, np.ndarray]]:
        """Return the file of the graph that a frame runs through, and what it is fed.

        Raises:
            ObservationError: if the observation does not fit `spec`.
            ActionRejected: if the language is another policy's.
        """
        observation.check(self.spec)
        words = language.features
        if not isinstance(words, WordFeatures):
            raise ActionRejected(
                f'instruction {language.text!r} carries {type(words).__name__}: '
                'expected the features of this policy'
            )
        image = observation.images[self._slot][None]
        return self._file, {'image': image, 'tokens': words.tokens, 'pooled': words.pooled}

    def infer(self, observation: Observation, language: Language) -> Prediction:
        """Predict the next H actions.

        Raises:
            ObservationError: if the observation does not fit `spec`.
            ActionRejected: if the output is not finite, or the language is another policy's.
        """
        _, feeds = self.frame_graph(observation, language)
        actions, done, attention = self._policy.run(['actions', 'done', 'attention'], feeds)
        self.attention = attention[0]
        prediction = Prediction(actions[0].astype(np.float64), float(done[0]))
        expected = (self.spec.horizon, len(self.spec.action_names))
        if prediction.actions.shape != expected:
            raise ActionRejected(
                f'actions of shape {prediction.actions.shape}: expected {expected}'
            )
        return prediction

    def close(self) -> None:
        """Release the sessions."""
        del self._encoder, self._language, self._policy

    def _warm_up(self) -> None:
        """Run once, so that the first frame is as fast as the others and a bad graph shows."""
        slot = self.spec.cameras[0]
        grey = np.full((slot.height, slot.width, 3), 128, np.uint8)
        language = self.encode('move forward')
        for _ in range(_WARM_UP_FRAMES):
            self.infer(Observation({slot.name: grey}, stamp_ns=0), language)


def create(checkpoint: Path | None, device: str = 'auto') -> OnnxPolicy:
    """Make the policy for the entry point `onnx`.

    Raises:
        CheckpointError: if no folder is given, or the device is not the CPU.
    """
    if checkpoint is None:
        raise CheckpointError('policy onnx: no checkpoint given: expected a folder')
    if device not in ('auto', 'cpu'):
        raise CheckpointError(f'policy onnx: device {device!r}: expected auto or cpu')
    return OnnxPolicy(checkpoint)


def _only_slot(manifest: Manifest) -> str:
    if len(manifest.spec.cameras) != 1 or manifest.spec.state_names:
        raise CheckpointError(
            f'{manifest.spec.model_id}: {len(manifest.spec.cameras)} cameras and state '
            f'{manifest.spec.state_names}: expected one camera and no state'
        )
    return manifest.spec.cameras[0].name


def _read_mean(path: Path) -> WordFeatures:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return WordFeatures(arrays['tokens'], arrays['pooled'])
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f'{path.parent.name}/{path.name}: {error}') from error
