"""Teach what is understood: the intent head alone, by sentences alone.

The head shares nothing with the rest of the network, so what it learns changes no movement. It is
taught last, when it is known how the network moves: what it would drive another way ("astern"
forwards) it refuses.

Shape letters: S sentences, M of a batch, P pictures.
"""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import torch
from torch import nn, Tensor
from torch.nn import functional
from tqdm import tqdm

from vla_learning.data.batch import Features
from vla_learning.experiment import IntentConfig
from vla_learning.model import Policy
from vla_learning.model.language import LanguageHead
from vla_learning.sim.frames import ANGULAR, LINEAR
from vla_learning.sim.relations import RELATIONS
from vla_learning.sim.sentences import FIRST_RELATION, intent_of, NONSENSE, Sentences
from vla_learning.sim.views import KINDS
from vla_learning.sim.wording import MOTIONS
from vla_sim.expert import MOTIONS as MOTION_SPEEDS

#: Of nine sentences of a batch: to be refused, motions, goals; the others are relations.
_REFUSED, _MOTIONS, _GOALS, _ALL = 3, 6, 8, 9
#: One in so many is drawn from the additional sentences, if there are any.
_ADDITIONAL = 8
#: From here on it is another motion, m/s and rad/s.
_OTHER = np.array([0.1, 0.3])
_CHUNK = 256


def teach_intents(
    policy: Policy,
    sentences: Sentences,
    images: np.ndarray,
    config: IntentConfig,
    own: Sentences | None = None,
) -> list[str]:
    """Train the intent head of a network from nothing, in place; the same seed gives the same.

    Args:
        policy: on the CPU, in evaluation mode; all but the head stays as it is.
        sentences: embedded, of every meaning.
        images: uint8 [P, height, width, 3], to see how it moves.
        config: how.
        own: more sentences, of any meaning, an eighth of what is learned.

    Returns:
        The motions that it would move otherwise for, and learned to refuse.
    """
    wrong = misled(policy, sentences, images)
    refused = _select(sentences, wrong)
    refused.meanings[:] = NONSENSE
    additional, texts = [refused] if wrong.any() else [], refused.texts.tolist()
    if own is not None:
        otherwise = misled(policy, own, images)
        additional.append(replace(own, meanings=np.where(otherwise, NONSENSE, own.meanings)))
        texts += own.texts[otherwise].tolist()
    _train(policy.language, _select(sentences, ~wrong), additional, config)
    return texts


def misled(policy: Policy, sentences: Sentences, images: np.ndarray) -> np.ndarray:
    """Say for which motions the network moves otherwise in one of the pictures: bool [S]."""
    found = np.zeros(len(sentences.meanings), bool)
    for number, motion in enumerate(MOTIONS):
        wanted = np.array(MOTION_SPEEDS[motion])
        asked = np.flatnonzero(sentences.meanings == len(KINDS) + number)
        for start in range(0, len(asked), _CHUNK):
            part = asked[start : start + _CHUNK]
            for image in images:
                error = np.abs(_act(policy, image, sentences, part) - wanted)
                found[part] |= (error > _OTHER).any(axis=1)
    return found


def draw(sentences: Sentences, count: int, random: np.random.Generator) -> np.ndarray:
    """Draw sentences [M], a third each refused, goal and motion; of goals, a third relations."""
    style = random.integers(_ALL, size=count)
    meaning = np.select(
        [style < _REFUSED, style < _MOTIONS, style < _GOALS],
        [
            np.full(count, NONSENSE),
            len(KINDS) + random.integers(len(MOTIONS), size=count),
            random.integers(len(KINDS), size=count),
        ],
        FIRST_RELATION + random.integers(len(RELATIONS), size=count),
    )
    return sentences.draw(random, meaning)


@torch.no_grad()
def _act(policy: Policy, image: np.ndarray, sentences: Sentences, which: np.ndarray) -> np.ndarray:
    """First forward speed and turn rate of sentences in one picture: [len(which), 2]."""
    features = Features(*map(torch.from_numpy, sentences.gather(which)))
    actions = policy(torch.from_numpy(image)[None], features).actions
    return actions[:, 0, [LINEAR, ANGULAR]].numpy()


def _train(
    head: LanguageHead, sentences: Sentences, additional: list[Sentences], config: IntentConfig
) -> None:
    random = np.random.default_rng(config.seed)
    layers = nn.ModuleList([head.intent_project, head.intent_pool, head.intent])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        for layer in layers.modules():
            if isinstance(layer, nn.Linear):
                layer.reset_parameters()
        average = torch.optim.swa_utils.AveragedModel(
            layers, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(config.ema)
        )
        optimizer = torch.optim.AdamW(
            layers.parameters(), config.learning_rate, weight_decay=config.weight_decay
        )
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.steps)
        layers.train()
        for _ in tqdm(range(config.steps), desc='intents', mininterval=1):
            loss = _loss(head, sentences, draw(sentences, config.batch, random), config)
            for more in additional:
                drawn = random.integers(
                    len(more.lengths), size=max(1, config.batch // _ADDITIONAL)
                )
                loss = loss + _loss(head, more, drawn, config) / _ADDITIONAL
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            average.update_parameters(layers)
        layers.load_state_dict(average.module.state_dict())
        layers.eval()


def _loss(
    head: LanguageHead, sentences: Sentences, drawn: np.ndarray, config: IntentConfig
) -> Tensor:
    embeddings, padding = map(torch.from_numpy, sentences.gather(drawn))
    # A few thousand sentences are soon known by heart.
    embeddings = embeddings + config.noise * torch.randn_like(embeddings)
    wanted = torch.tensor([int(intent_of(number)) for number in sentences.meanings[drawn]])
    return functional.cross_entropy(
        head.intents(embeddings, padding), wanted, label_smoothing=config.smoothing
    )


def _select(sentences: Sentences, which: np.ndarray) -> Sentences:
    return Sentences(*(getattr(sentences, field.name)[which] for field in fields(Sentences)))
