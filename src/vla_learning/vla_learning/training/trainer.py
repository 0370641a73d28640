"""Training: imitation of the expert, with the named object's place as extra teacher.

Shape legend: N pairs of picture and instruction, H horizon, D axes, G tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
import logging
import math
from pathlib import Path
import time

import numpy as np
import torch
from torch import nn, Tensor
from torch.nn import functional
from tqdm import tqdm

from vla_learning.model import ModelConfig, Output, Policy
from vla_learning.sim.batches import Batch, Sampler

LOG = logging.getLogger(__name__)
# Places of forward speed and turn rate among the native axes.
LINEAR, ANGULAR = 0, 5


@dataclass(frozen=True)
class TrainConfig:
    """How to train.

    Attributes:
        steps: optimiser steps over the whole run; the learning rate ends at zero there.
        images: pictures per step.
        instructions: sentences per picture.
        intents: sentences per step for the intent head.
        blur: deviation of the noise on the intent head's embeddings.
        learning_rate: peak of AdamW's.
        weight_decay: of AdamW.
        warmup: steps until the peak.
        clip: largest gradient norm.
        ema: share of the running average of the weights kept per step.
        seed: of everything drawn.
        save_every: s between checkpoints.
    """

    steps: int = 5000
    images: int = 64
    instructions: int = 4
    intents: int = 96
    blur: float = 0.3
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.02
    warmup: int = 200
    clip: float = 1.0
    ema: float = 0.998
    seed: int = 0
    save_every: float = 120.0


class Trainer:
    """Model, optimiser and running average; one call of `run` trains up to a step.

    Args:
        folder: where `checkpoint.pt` is kept; training goes on from it if it is there.
    """

    def __init__(self, model: ModelConfig, config: TrainConfig, folder: Path) -> None:
        torch.manual_seed(config.seed)
        self.config = config
        self.model = Policy(model).to(memory_format=torch.channels_last)
        self.average = Policy(model).to(memory_format=torch.channels_last).eval()
        self.average.load_state_dict(self.model.state_dict())
        self.step = 0
        self._path = folder / 'checkpoint.pt'
        self._optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        if self._path.exists():
            # weights_only: tensors and plain values; no code can come out of the file.
            state = torch.load(self._path, weights_only=True)
            self.model.load_state_dict(state['model'])
            self.average.load_state_dict(state['average'])
            self._optimizer.load_state_dict(state['optimizer'])
            self.step = state['step']

    def save(self) -> None:
        """Write the checkpoint; a crash in mid-write leaves the old one."""
        draft = self._path.with_suffix('.draft')
        state = {
            'model': self.model.state_dict(),
            'average': self.average.state_dict(),
            'optimizer': self._optimizer.state_dict(),
            'step': self.step,
        }
        torch.save(state, draft)
        draft.replace(self._path)

    def run(self, sampler: Sampler, until: int) -> None:
        """Train up to step `until` (at most `config.steps`)."""
        saved = time.monotonic()
        shown: dict[str, float] = {}
        bar = tqdm(total=until, initial=self.step, desc='training', mininterval=5)
        while self.step < until:
            for name, value in self.train_step(sampler).items():
                shown[name] = (
                    value if self.step == 1 else 0.98 * shown.get(name, value) + 0.02 * value
                )
            bar.update()
            if self.step % 100 == 0:
                line = ' '.join(f'{name} {value:.4f}' for name, value in shown.items())
                bar.set_postfix_str(line)
                LOG.info('step %d: %s', self.step, line)
            if time.monotonic() - saved > self.config.save_every:
                self.save()
                saved = time.monotonic()
        bar.close()
        self.save()

    def train_step(self, sampler: Sampler) -> dict[str, float]:
        """Take one step; returns the weighted losses by name."""
        config = self.config
        random = np.random.default_rng((config.seed, self.step))
        # Dropout draws from torch's own stream.
        torch.manual_seed(config.seed * 1_000_003 + self.step)
        for group in self._optimizer.param_groups:
            group['lr'] = config.learning_rate * self._rate()
        batch = sampler.batch(random, config.images, config.instructions)
        intents = sampler.intents(random, config.intents)
        self.model.train()
        with torch.autocast('cpu', torch.bfloat16):
            words = self.model.language(batch.embeddings, batch.padding)
            output = self.model(batch.image.float(), words)
            # Noise, because a few thousand sentences are soon known by heart.
            blurred = intents[0] + config.blur * torch.randn_like(intents[0])
            intent = self.model.language.intents(blurred, intents[1])
        losses = policy_losses(output, batch, self.model.config.grounded_heads)
        losses['intent'] = 0.3 * functional.cross_entropy(
            intent.float(), intents[2], label_smoothing=0.05
        )
        total = torch.stack(list(losses.values())).sum()
        self._optimizer.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), config.clip)
        self._optimizer.step()
        self.step += 1
        self._average()
        return {name: value.item() for name, value in losses.items()}

    def _rate(self) -> float:
        """Learning rate relative to its peak: warm-up, then half a cosine to zero."""
        warm = min(1.0, (self.step + 1) / self.config.warmup)
        return warm * 0.5 * (1 + math.cos(math.pi * min(1.0, self.step / self.config.steps)))

    @torch.no_grad()
    def _average(self) -> None:
        # Early on the average would be dominated by the random start.
        keep = min(self.config.ema, self.step / (self.step + 20))
        new = self.model.state_dict()
        for name, value in self.average.state_dict().items():
            if value.is_floating_point():
                value.lerp_(new[name], 1 - keep)
            else:
                value.copy_(new[name])


def policy_losses(output: Output, batch: Batch, grounded_heads: int) -> dict[str, Tensor]:
    """Compare an output with the expert: actions, done, and where the named object is."""
    target = torch.zeros_like(output.actions, dtype=torch.float32)
    target[..., LINEAR] = batch.actions[..., 0]
    target[..., ANGULAR] = batch.actions[..., 1]
    weight = torch.full(target.shape[1:], 0.2)
    # Step 0 is played most, for every frame brings a new chunk.
    fading = torch.linspace(1.0, 0.5, target.shape[1])
    weight[:, LINEAR], weight[:, ANGULAR] = 3.0 * fading, 2.0 * fading
    action = functional.smooth_l1_loss(output.actions.float(), target, beta=0.05, reduction='none')
    done = functional.binary_cross_entropy_with_logits(
        output.done.float(), batch.done.float(), reduction='none'
    )
    sight = output.sight.float()
    goal = ~batch.motion
    seen = batch.seen.float()
    in_sight = functional.binary_cross_entropy_with_logits(sight[:, 0], seen, reduction='none')
    # log of the gap, offset so that contact (gap 0) stays finite.
    wanted = torch.stack([batch.place[:, 0], torch.log(batch.place[:, 1].clamp(min=0) + 0.1)], -1)
    place = functional.smooth_l1_loss(sight[:, 1:], wanted, beta=0.05, reduction='none').sum(-1)

    share = batch.mask / batch.mask.sum(-1, keepdim=True).clamp(min=1)
    share = torch.cat([1 - seen[:, None], share], dim=1)[:, None]
    attention = output.attention[:, :grounded_heads].float()
    grounding = -(share * torch.log(attention + 1e-5)).sum(-1).mean(-1)
    # Entropy of the target is a floor that would hide progress.
    floor = -(share * torch.log(share + 1e-5)).sum(-1).mean(-1)
    return {
        'action': (action * weight).mean() * 4,
        'done': done.mean(),
        'sight': 0.2 * in_sight[goal].mean(),
        'place': 0.3 * (place * seen).mean(),
        'ground': 0.15 * (grounding - floor)[goal].mean(),
    }
