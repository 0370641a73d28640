"""Training sentences as embeddings of the frozen encoder, drawn by meaning.

Meanings are numbered: kinds of objects first (as in `views.KINDS`), then motions, nonsense, and
relations (as in `relations.RELATIONS`).
"""

from __future__ import annotations

from dataclasses import dataclass
import hashlib
from pathlib import Path

import numpy as np
from tqdm import tqdm

from vla_core.types import Intent
from vla_inference.encoder import TokenEncoder
from vla_learning.model.minilm import installed_encoder, open_encoder
from vla_learning.sim.nonsense import training_nonsense
from vla_learning.sim.relations import RELATIONS, training_relations
from vla_learning.sim.views import KINDS
from vla_learning.sim.wording import MOTIONS, Saying, training_sayings

NONSENSE = len(KINDS) + len(MOTIONS)
FIRST_RELATION = NONSENSE + 1


def meaning(saying: Saying) -> int:
    """Number what a sentence means."""
    if saying.motion:
        return len(KINDS) + MOTIONS.index(saying.motion)
    return KINDS.index((saying.colour, saying.shape))


def intent_of(meaning_number: int) -> Intent:
    """Say which intent a meaning has."""
    if meaning_number < len(KINDS) or meaning_number >= FIRST_RELATION:
        return Intent.GOAL
    return Intent.MOTION if meaning_number < NONSENSE else Intent.REFUSED


@dataclass(frozen=True)
class Sentences:
    """Embedded sentences.

    Attributes:
        texts: str [S].
        embeddings: float16 [S, T, E], zero beyond each sentence's end.
        lengths: int [S].
        meanings: int [S].
    """

    texts: np.ndarray
    embeddings: np.ndarray
    lengths: np.ndarray
    meanings: np.ndarray

    @property
    def understood(self) -> np.ndarray:
        """Which sentences are no nonsense: bool [S]."""
        return self.meanings != NONSENSE

    def draw(self, random: np.random.Generator, meanings: np.ndarray) -> np.ndarray:
        """Draw a sentence for each meaning: indices, of the same shape."""
        order = np.argsort(self.meanings, kind='stable')
        counts = np.bincount(self.meanings, minlength=FIRST_RELATION + len(RELATIONS))
        first = np.concatenate([[0], np.cumsum(counts)[:-1]])
        offset = (random.random(meanings.shape) * counts[meanings]).astype(int)
        return order[first[meanings] + offset]

    def gather(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return embeddings float32 [n, T, E] and padding bool [n, T] of sentences."""
        longest = int(self.lengths[indices].max())
        padding = np.arange(longest) >= self.lengths[indices][:, None]
        return self.embeddings[indices, :longest].astype(np.float32), padding


def embed(texts: list[str], meanings: list[int], encoder: TokenEncoder) -> Sentences:
    """Embed sentences one by one."""
    parts = [encoder(text) for text in tqdm(texts, desc='sentences', mininterval=1)]
    lengths = np.array([len(part) for part in parts])
    embeddings = np.zeros((len(parts), lengths.max(), parts[0].shape[1]), np.float16)
    for row, part in zip(embeddings, parts, strict=True):
        row[: len(part)] = part
    return Sentences(np.array(texts), embeddings, lengths, np.array(meanings))


def training_sentences(cache: Path, each: int, nonsense: int, seed: int) -> Sentences:
    """Embed training sentences, or read them back from `cache` (.npz).

    Args:
        cache: written, and read if it holds the same sentences of the same encoder.
        each: sentences per motion, per colour and noun, and per relation.
        nonsense: sentences to be refused.
        seed: of the draws.
    """
    sayings = training_sayings(seed, each)
    related = training_relations(seed, each)
    texts = [saying.text for saying in sayings] + [text for text, _ in related]
    meanings = [meaning(saying) for saying in sayings]
    meanings += [FIRST_RELATION + RELATIONS.index(relation) for _, relation in related]
    texts += sorted(set(training_nonsense(nonsense, seed)))
    meanings += [NONSENSE] * (len(texts) - len(meanings))
    reference = installed_encoder().sha256 + '\n'.join(texts)
    digest = hashlib.sha256(reference.encode()).hexdigest()
    if cache.exists():
        with np.load(cache) as stored:
            if str(stored['digest']) == digest:
                return Sentences(
                    *(stored[n] for n in ('texts', 'embeddings', 'lengths', 'meanings'))
                )
    result = embed(texts, meanings, open_encoder())
    np.savez(cache, digest=digest, **vars(result))
    return result
