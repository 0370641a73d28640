"""Language encoders: texts to token embeddings.

`MiniLm` is the small frozen one that the robot runs without torch; `Bert` is any BERT of
transformers, which can learn with the policy. Both remember what they said of a text.

Shape legend: N texts, T tokens of the longest, E width of the embeddings.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TYPE_CHECKING

from tokenizers import Tokenizer
import torch
from torch import nn, Tensor

from vla_core.errors import ConfigError
from vla_learning.data.batch import Features
from vla_learning.model.minilm import MAX_TOKENS, open_encoder

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from vla_inference.encoder import TokenEncoder

#: Texts that an encoder remembers; 10 words of BERT-base are 31 kB.
REMEMBERED = 8192


class LanguageEncoder(Protocol):
    """Who embeds the words.

    Attributes:
        width: E.
        max_tokens: longest token sequence; the rest of a text is cut off.
    """

    width: int
    max_tokens: int

    def encode(self, texts: Sequence[str]) -> Features:
        """Embed texts: tokens [N, T, E] on the CPU, padding [N, T]."""
        ...


class Ids(NamedTuple):
    """Tokenised texts.

    Attributes:
        ids: int64 [N, T].
        padding: bool [N, T], True where there is no word.
    """

    ids: Tensor
    padding: Tensor


class MiniLm:
    """all-MiniLM-L6-v2 as int8 ONNX, frozen: the encoder of the compact scale."""

    def __init__(self, encoder: TokenEncoder | None = None) -> None:
        """Use `encoder`, or open the one that is installed.

        Raises:
            ConfigError: if none is installed.
        """
        self._encoder = open_encoder() if encoder is None else encoder
        self._memory = _Memory()
        self.max_tokens = MAX_TOKENS
        self.width = int(self._encoder('stop').shape[1])

    def encode(self, texts: Sequence[str]) -> Features:
        """See `LanguageEncoder`."""
        return pad([self._memory.get(text, self._embed) for text in texts])

    def _embed(self, text: str) -> Tensor:
        return torch.from_numpy(self._encoder(text))


class Bert(nn.Module):
    """A BERT of transformers with its tokenizer; a module, so that it can learn."""

    def __init__(
        self, network: PreTrainedModel, tokenizer: Tokenizer, max_tokens: int = MAX_TOKENS
    ) -> None:
        """Take a network and its tokenizer over.

        Raises:
            ConfigError: if the network has no such layers, or too few words or places.
        """
        super().__init__()
        # The pooler is a layer for another task: it would never get a gradient.
        network.pooler = None
        self.network = network.float()
        self.max_tokens = max_tokens
        self.width = int(network.config.hidden_size)
        self.tokenizer = deepcopy(tokenizer)
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(max_tokens)
        self._memory = _Memory()
        self.register_load_state_dict_post_hook(_forget)
        words, known = self.tokenizer.get_vocab_size(), int(network.config.vocab_size)
        if words > known:
            raise ConfigError(f'tokenizer of {words} words: expected at most {known}, as in BERT')
        places = int(network.config.max_position_embeddings)
        if max_tokens > places:
            raise ConfigError(f'max_tokens {max_tokens}: expected at most {places}, as in BERT')

    @classmethod
    def open(cls, name: str) -> Bert:
        """Open a pretrained one by folder, or by name from the local cache of Hugging Face.

        Nothing is downloaded: `hf download NAME` fills the cache.

        Raises:
            ConfigError: if it is not there, or holds no safetensors.
        """
        transformers = _transformers()
        here = {'local_files_only': True}
        try:
            network = transformers.AutoModel.from_pretrained(name, use_safetensors=True, **here)
            tokenizer = transformers.AutoTokenizer.from_pretrained(name, use_fast=True, **here)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f'language encoder {name!r}: not found here: expected a folder with '
                f'model.safetensors and tokenizer.json, or `hf download {name}` before'
            ) from error
        return cls(network, tokenizer.backend_tokenizer)

    @classmethod
    def build(
        cls, config: dict[str, Any], tokenizer: Tokenizer, max_tokens: int = MAX_TOKENS
    ) -> Bert:
        """Build one with random weights from the fields of transformers' `config.json`.

        Raises:
            ConfigError: if transformers does not know such a network.
        """
        transformers = _transformers()
        values = dict(config)
        kind = values.pop('model_type', 'bert')
        try:
            sizes = transformers.AutoConfig.for_model(kind, **values)
            network = transformers.AutoModel.from_config(sizes)
        except (ValueError, TypeError) as error:
            raise ConfigError(f'language encoder of type {kind!r}: {error}') from error
        return cls(network, tokenizer, max_tokens)

    @property
    def stages(self) -> Sequence[nn.Module]:
        """Embeddings and layers, from the text on: what can be frozen one after the other."""
        network = self.network
        stack = network.encoder if hasattr(network, 'encoder') else network.transformer
        return network.embeddings, *stack.layer

    def tokenize(self, texts: Sequence[str]) -> Ids:
        """Turn texts into ids [N, T] on the network's device."""
        found = [self.tokenizer.encode(text).ids for text in texts]
        length = max(map(len, found))
        ids = torch.zeros(len(found), length, dtype=torch.int64)
        padding = torch.ones(len(found), length, dtype=torch.bool)
        for row, one in enumerate(found):
            ids[row, : len(one)] = torch.tensor(one)
            padding[row, : len(one)] = False
        device = next(self.network.parameters()).device
        return Ids(ids.to(device), padding.to(device))

    def forward(self, said: Ids) -> Features:
        """Embed ids [N, T]: tokens [N, T, E], zero where there is no word."""
        mask = ~said.padding
        tokens = self.network(input_ids=said.ids, attention_mask=mask.long()).last_hidden_state
        return Features(tokens * mask[..., None], said.padding)

    def encode(self, texts: Sequence[str]) -> Features:
        """Embed texts without gradients and without dropout; remembered while nothing learns."""
        if any(parameter.requires_grad for parameter in self.network.parameters()):
            self._memory = _Memory()
        return pad([self._memory.get(text, self._embed) for text in texts])

    @torch.no_grad()
    def _embed(self, text: str) -> Tensor:
        # One by one: in a batch the last bits would depend on the neighbours, and a resumed run,
        # whose memory is empty, would differ from an uninterrupted one.
        training = self.network.training
        self.network.eval()
        tokens = self(self.tokenize([text])).tokens[0].float().cpu()
        self.network.train(training)
        return tokens


def pad(parts: Sequence[Tensor]) -> Features:
    """Stack embeddings [T of each, E] to [N, T, E], zero beyond each one's end."""
    length = max(map(len, parts))
    tokens = torch.zeros(len(parts), length, parts[0].shape[1])
    for row, part in zip(tokens, parts, strict=True):
        row[: len(part)] = part
    lengths = torch.tensor([len(part) for part in parts])
    return Features(tokens, torch.arange(length) >= lengths[:, None])


class _Memory:
    """The latest texts and their embeddings."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Tensor] = OrderedDict()

    def get(self, text: str, embed: Callable[[str], Tensor]) -> Tensor:
        if text not in self._known:
            self._known[text] = embed(text)
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        self._known.move_to_end(text)
        return self._known[text]


def _forget(bert: Bert, _: object) -> None:
    """Other weights, other embeddings."""
    bert._memory = _Memory()


def _transformers() -> Any:
    try:
        from vla_learning import torchvision_beside_cpu  # noqa: F401, I001 (before transformers)
        import transformers
    except ModuleNotFoundError as error:
        raise ConfigError('BERT needs transformers: run `make setup-train`') from error
    return transformers


def read_tokenizer(file: Path) -> Tokenizer:
    """Read a tokenizer.json.

    Raises:
        ConfigError: if it is none.
    """
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # tokenizers raises nothing more special
        raise ConfigError(f'{file.name}: {error}: expected a tokenizer.json') from error
