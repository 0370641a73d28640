"""The trainer: batches in, checkpoints out; resumable to the bit, in one process or many."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
import contextlib
from copy import deepcopy
import json
import logging
import math
import os
from pathlib import Path
import signal
import time
from typing import Any, NoReturn

from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState
import torch
from torch import Tensor

from vla_core.errors import ConfigError, VlaError
from vla_learning.data.batch import Batch, Features, Source
from vla_learning.experiment import Experiment, same, save_experiment, TrainConfig
from vla_learning.model import encoder_for, Ids, LanguageEncoder, Policy
from vla_learning.randomise import Randomiser
from vla_learning.structure import plain
from vla_learning.training.average import follow
from vla_learning.training.beginning import make_policy
from vla_learning.training.feed import feed, Share, to_device
from vla_learning.training.interruption import Interrupted, Interruption
from vla_learning.training.losses import count, Objective
from vla_learning.training.progress import named_losses, Progress
from vla_learning.training.provenance import provenance
from vla_learning.training.schedule import is_checkpoint, last_step, rate
from vla_learning.training.state import read_state, write_state
from vla_learning.training.validation import validate

LOG = logging.getLogger(__name__)
#: Writes a checkpoint folder from a policy and what is known of its training.
Publish = Callable[[Path, Policy, Mapping[str, Any]], None]
#: Checkpoint folders in a run folder: the latest weights, and those with the least loss.
LAST, BEST = 'last', 'best'


class LossNotFinite(VlaError):
    """The loss or its gradient is NaN or infinite; nothing of that step was kept."""


class Trainer:
    """Model, optimiser and running average; one call of `run` trains up to a step.

    A run folder that holds a state is gone on with, provided it is the same experiment's.

    Args:
        experiment: model, randomisation and how to train.
        source: batches to learn from.
        folder: of the run; made if it is missing.
        validation: batches kept apart; without them there is no best checkpoint.
        publish: writes the checkpoint folders `last` and `best` into the run folder.
        policy: to begin with, instead of a new one.
        data: plain facts of the source, its hash among them; a run goes on with no others.

    Attributes:
        model: the policy that learns.
        average: running average of its weights, or the policy itself where none is kept.
        step: optimiser steps taken.
        end: steps of the whole run.
        losses: weighted terms of the latest step, and their sum.
        validated: latest result of the validation.

    Raises:
        ConfigError: if the folder holds another experiment or other data, the batch cannot be
            shared out, or the precision is not for this device.
        CheckpointError: if the folder's state cannot be read.
    """

    def __init__(
        self,
        experiment: Experiment,
        source: Source,
        folder: Path,
        *,
        validation: Source | None = None,
        publish: Publish | None = None,
        policy: Policy | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> None:
        self.experiment, self.folder = experiment, folder
        config = self._config = experiment.train
        self._source, self._validation, self._publish = source, validation, publish
        self._data = dict(data or {})
        self.end, self.step = last_step(config, source.samples), 0
        self.losses: dict[str, float] = {}
        self.validated: dict[str, float] = {}
        self._best = float('inf')
        accelerator = self._accelerator = _accelerate(config)
        self._share = Share(accelerator.process_index, accelerator.num_processes, config.pieces)
        if self.processes != int(os.environ.get('WORLD_SIZE', '1')):
            raise ConfigError(
                f'{self.processes} of {os.environ["WORLD_SIZE"]} processes found each other: '
                "expected all of torchrun's"
            )
        if config.batch % self._share.parts:
            raise ConfigError(
                f'batch is {config.batch}: expected a multiple of {self._share.parts}, '
                'processes times pieces'
            )
        self.model = make_policy(experiment) if policy is None else policy
        self.model.to(accelerator.device, memory_format=torch.channels_last)
        self.average = deepcopy(self.model).eval() if config.ema else self.model
        self._encoder: LanguageEncoder | None = None
        randomise = Randomiser(experiment.randomise, config.seed)
        self._randomise = randomise if experiment.randomise.real_ratio < 1 else None
        self._judge = Objective(self.average, config.loss).to(accelerator.device)
        objective = Objective(self.model, config.loss)
        self._taught = [value for value in objective.parameters() if value.requires_grad]
        # Fused: one pass over all weights; on a CPU the default makes ten over each by itself.
        optimizer = torch.optim.AdamW(
            self._taught, config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self._objective, self._optimizer = accelerator.prepare(objective, optimizer)
        self._restore()

    @property
    def processes(self) -> int:
        """How many processes share each batch."""
        return self._share.processes

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes and prints."""
        return bool(self._accelerator.is_main_process)

    def run(self, until: int | None = None) -> None:
        """Train up to step `until`, or to the end of the run.

        Raises:
            Interrupted: after SIGINT or SIGTERM, with everything saved.
            LossNotFinite: with the batch noted in the run folder; what was saved is left alone.
        """
        config = self._config
        until = self.end if until is None else min(until, self.end)
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.is_first:
            save_experiment(self.experiment, self.folder)
        progress = Progress(self.folder, self.step, until, config.log_steps, not self.is_first)
        batches = feed(self._source, range(self.step, until), self._share, config.workers)
        saved_at = time.monotonic()
        with Interruption() as interruption, progress:
            for pieces in batches:
                counts = self._agree(pieces, interruption)
                losses = self._train_step(pieces, counts)
                progress.step(self.step, losses, self._rate())
                due = self.step % config.validation_steps == 0 or self.step == self.end
                if self._validation is not None and due:
                    progress.note(self.step, self._validate(self._validation))
                if self.step == until or is_checkpoint(config, self.step, self._source.samples):
                    self.publish(LAST)
                elif time.monotonic() - saved_at < config.save_seconds:
                    continue
                self.save()
                saved_at = time.monotonic()
            if interruption.signal and self.step < self.end:
                self._interrupted(interruption.signal)

    def save(self) -> None:
        """Write the state from which a run goes on."""
        if not self.is_first:
            return
        scaler = self._accelerator.scaler
        state = {
            'experiment': plain(self.experiment),
            'data': self._data,
            'step': self.step,
            'model': self.model.state_dict(),
            'average': self.average.state_dict() if self._config.ema else {},
            'optimizer': self._optimizer.state_dict(),
            'scaler': scaler.state_dict() if scaler else {},
            'best': self._best,
            'validated': self.validated,
        }
        write_state(self.folder, state)

    def publish(self, name: str) -> None:
        """Write a checkpoint folder with the averaged weights."""
        if self._publish is not None and self.is_first:
            known = provenance(self.experiment, self.step, self.processes)
            known |= {'data': self._data, 'losses': self.losses, 'validation': self.validated}
            self._publish(self.folder / name, self.average, known)

    def _agree(self, pieces: list[Batch], interruption: Interruption) -> Tensor:
        """Count what is taught over all processes, or end in all of them if one is to end."""
        counts = torch.stack([count(batch) for batch in pieces]).sum(0)
        asked = counts.new_tensor([float(interruption.signal)])
        agreed = self._reduce(torch.cat([counts, asked]).to(self._accelerator.device))
        if agreed[-1]:
            self.save()
            self.publish(LAST)
            self._interrupted(interruption.signal or signal.SIGTERM)
        return agreed[:-1]

    def _interrupted(self, number: int) -> NoReturn:
        raise Interrupted(
            f'{signal.Signals(number).name} at step {self.step} of {self.end}: saved in '
            f'{self.folder}; the same command goes on from there',
            number,
        )

    def _train_step(self, pieces: list[Batch], counts: Tensor) -> Tensor:
        """Take one optimiser step; returns the weighted losses [terms] of the whole batch."""
        config, share, accelerator = self._config, self._share, self._accelerator
        for group in self._optimizer.param_groups:
            group['lr'] = config.learning_rate * self._rate()
        self._objective.train()
        self._optimizer.zero_grad(set_to_none=True)
        losses = torch.zeros_like(counts)
        for piece, batch in enumerate(pieces):
            part = share.part(piece)
            moved = to_device(batch, accelerator.device)
            if self._randomise is not None:
                moved = self._randomise.batch(moved, self.step, part, share.parts)
            # Dropout's masks depend on the step alone, so that a resumed run has the same.
            number = config.seed * 1_000_003 + self.step
            torch.manual_seed(number * share.parts + part)
            last = piece == share.pieces - 1
            waiting = contextlib.nullcontext() if last else accelerator.no_sync(self._objective)
            with waiting:
                found = self._objective(moved, self._said(moved), counts).losses
                # The wrapper takes the mean over processes of what should be summed.
                accelerator.backward(found.sum() * share.processes)
            losses += found.detach()
        norm = accelerator.clip_grad_norm_(self._taught, config.clip)
        whole = self._reduce(losses)
        overflow = accelerator.scaler is None and not torch.isfinite(norm)
        if overflow or not torch.isfinite(whole).all():
            self._stop(pieces, losses, norm)
        self._optimizer.step()
        self.step += 1
        if config.ema:
            follow(self.average, self.model, config.ema, self.step)
        self.losses = named_losses(whole)
        return whole

    def _stop(self, pieces: list[Batch], losses: Tensor, norm: Tensor) -> None:
        """Note the batch of a loss that is not finite, in each process its own."""
        name = f'not_finite_step{self.step}_process{self._share.process}.json'
        found = {
            'step': self.step,
            'losses': {key: str(value) for key, value in named_losses(losses).items()},
            'gradient_norm': str(float(norm)),
            'rows': [row for batch in pieces for row in batch.rows.tolist()],
            'texts': [text for batch in pieces for text in batch.text],
        }
        path = self.folder / name
        path.write_text(json.dumps(found, indent=1) + '\n', encoding='utf-8')
        raise LossNotFinite(
            f'step {self.step}: loss {losses.sum().item():g}, gradient norm {float(norm):g}: '
            f'expected finite numbers; rows and texts of the batch are in {path}'
        )

    def _said(self, batch: Batch) -> Features | Ids:
        """Instructions for the policy: embedded, or as ids where its encoder learns too."""
        if batch.features is not None:
            return batch.features
        encoder = self.model.encoder
        if encoder is not None and any(value.requires_grad for value in encoder.parameters()):
            return encoder.tokenize(batch.text)
        if self._encoder is None:
            self._encoder = encoder_for(self.model)
        return to_device(self._encoder.encode(batch.text), self._accelerator.device)

    def _validate(self, source: Source) -> dict[str, float]:
        """Measure the averaged weights, and publish them if they are the best so far."""
        config, share = self._config, self._share
        batches = config.validation_batches
        if source.samples is not None:
            batches = min(batches, math.ceil(source.samples / config.batch))
        whole = Share(share.process, share.processes)

        def shares() -> Iterator[tuple[Batch, Features | Ids]]:
            for pieces in feed(source, range(batches), whole, config.workers):
                # Of a last, smaller batch there may be nothing left for a process.
                if len(pieces[0].rows):
                    batch = to_device(pieces[0], self._accelerator.device)
                    yield batch, self._said(batch)

        with self._accelerator.autocast():
            self.validated = validate(self._judge, shares())
        if self.validated['loss'] < self._best:
            self._best = self.validated['loss']
            self.publish(BEST)
        return {f'validation/{name}': value for name, value in self.validated.items()}

    def _restore(self) -> None:
        state = read_state(self.folder)
        if state is None:
            return
        same(self.experiment, state['experiment'], self.folder)
        if state['data'] != self._data:
            raise ConfigError(
                f'{self.folder} holds a run on other data: {state["data"]}: expected {self._data}'
            )
        self.model.load_state_dict(state['model'])
        if self._config.ema:
            self.average.load_state_dict(state['average'])
        self._optimizer.load_state_dict(state['optimizer'])
        if self._accelerator.scaler is not None:
            self._accelerator.scaler.load_state_dict(state['scaler'])
        self.step, self._best = state['step'], state['best']
        self.validated = state['validated']
        LOG.info('%s: goes on from step %d of %d', self.folder, self.step, self.end)

    def _reduce(self, values: Tensor) -> Tensor:
        """Sum over all processes."""
        reduced: Tensor = self._accelerator.reduce(values, 'sum')
        return reduced

    def _rate(self) -> float:
        return rate(self._config, self.step, self.end)


def on_cpu(config: TrainConfig) -> bool:
    """Say whether training runs on the CPU.

    accelerate must be told: asked for a device that is not there, it joins no processes to a
    group, and each of them would train by itself.
    """
    return config.device == 'cpu' or not torch.accelerator.is_available()


def _accelerate(config: TrainConfig) -> Accelerator:
    if config.precision == 'fp16' and on_cpu(config):
        raise ConfigError('precision fp16 on a CPU: expected bf16 or no; fp16 is for GPUs')
    # accelerate has one state for the whole program, in which only one precision is possible.
    if (
        AcceleratorState._shared_state.get('_mixed_precision', config.precision)
        != config.precision
    ):
        AcceleratorState._reset_state()
    return Accelerator(
        cpu=on_cpu(config),
        mixed_precision=config.precision,
        # What is taught depends on the batch: without a scene, the scene's heads are idle.
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )
