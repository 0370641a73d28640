"""`vla-learn train EXPERIMENT.yaml`: one experiment, in one process or in those of torchrun."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from vla_core.errors import ConfigError
from vla_learning.experiment import Experiment, load_experiment


@dataclass(frozen=True)
class Train:
    """Train a policy; goes on where the run folder says that it was interrupted.

    Attributes:
        experiment: its YAML file; must come first.
        run: folder of the run; none: build/runs/ and the name of the experiment. Under torchrun
            write --folder: it takes --run for an option of its own.
        config: every value of the experiment.
    """

    experiment: tyro.conf.Positional[Path]
    config: Annotated[Experiment, tyro.conf.arg(name='')]
    run: Annotated[Path | None, tyro.conf.arg(aliases=('--folder',))] = None


def parse(prog: str, arguments: Sequence[str]) -> Train:
    """Read the experiment named first, then what the command line changes of it.

    Raises:
        ConfigError: if the file or a value is not allowed.
    """
    if not arguments or arguments[0].startswith('-'):
        if '-h' in arguments or '--help' in arguments:
            return tyro.cli(Train, prog=prog, args=['--help'])
        raise ConfigError(f'usage: {prog} EXPERIMENT.yaml [options]: expected the file first')
    path = Path(arguments[0])
    default = Train(path, load_experiment(path))
    return tyro.cli(Train, prog=prog, args=list(arguments), default=default)


def train(options: Train) -> int:
    """Train to the end; returns the exit status."""
    experiment = options.config
    run = options.run or Path('build/runs') / options.experiment.stem
    if experiment.data.kind == 'sim':
        from vla_learning.sim.recipe import follow

        follow(experiment, run, run / 'last')
        return 0
    from vla_learning.training.recorded import make_trainer

    trainer = make_trainer(experiment, run)
    trainer.run()
    if trainer.is_first:
        found = {'loss': trainer.losses['loss']} if trainer.losses else {}
        found |= {f'validation {name}': value for name, value in trainer.validated.items()}
        figures = ''.join(f', {name} {value:.5f}' for name, value in found.items())
        print(f'{run}: step {trainer.step} of {trainer.end}{figures}')
    return 0
