"""`vla-learn evaluate`: measure a policy on pictures with known answers, and drive it.

Not `make evaluate`, which plays whole episodes through the robot's graph; this needs no ROS.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
import json
import math
import os
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from rich.console import Console
from tqdm import tqdm
import tyro

from vla_core.errors import ConfigError
from vla_core.machine import describe
from vla_core.manifest import FILE_NAME as MANIFEST_NAME
from vla_core.manifest import load_manifest
from vla_core.types import PolicySpec
from vla_learning import grounding, metrics
from vla_learning.answers import Answers
from vla_learning.answers import FILE_NAME as ANSWERS_NAME
from vla_learning.asking import ask_all, Listener, open_policy
from vla_learning.bootstrap import estimate, Measure, proportion
from vla_learning.drives import Drive, drive_all, tasks
from vla_learning.evaluation.tasks import (
    CHOOSING,
    GO_TO,
    LOOKED_THROUGH,
    purpose_of,
    RELATIONS,
    Task,
)
from vla_learning.questions import misfit, recorded, Scene, simulated
from vla_learning.report.curves import read_curves
from vla_learning.report.page import write_page
from vla_learning.report.pictures import overlays, save_attention
from vla_learning.report.tables import show

FILE_NAME = 'evaluation.json'
REPORT_NAME = 'report.html'
ATTENTION_NAME = 'attention.npz'
_OURS = {FILE_NAME, REPORT_NAME, ATTENTION_NAME, ANSWERS_NAME}
#: Pictures of each layout.
_PER_LAYOUT = 4


@dataclass(frozen=True)
class Evaluate:
    """Measure a policy: action errors, language grounding, latency, closed loop; HTML report.

    Attributes:
        checkpoint: checkpoint folder, or the name of a policy.
        out: folder for evaluation.json, answers.npz, attention.npz and report.html; must be new,
            empty or that of an earlier evaluation.
        data: recordings to measure on (JSON records, LeRobot or RLDS); without it the simulator.
        camera: which picture of the recordings; empty: the first.
        fps: frames per second of recordings that do not say it.
        gripper: what 1 means of a gripper, `closed` or `open`, where they do not say
            (RLDS, LeRobot).
        validation: share of the recordings that training kept back; only those are asked about;
            0: all.
        split_seed: seed of that training, which decides what was kept back.
        skip_bad: leave bad records out instead of stopping at the first.
        layouts: layouts of the simulator to ask about, four pictures of each.
        pictures: pictures of the recordings to ask about, at most.
        episodes: closed-loop episodes in the simulator; 50 without data, none with data.
        relations: further episodes in which the object is named by a relation, such as "the ball
            left of the red box".
        seed: first layout; 500000 to 999999 are for choosing, from 1000001 on for releases.
        jobs: processes that drive.
        run: folder of the training run, for its learning curves.
        blind: replace what is said by the mean of all sentences: what a policy is without words.
        device: auto, cpu or cuda.
    """

    checkpoint: Annotated[str, tyro.conf.Positional]
    out: Path
    data: Path | None = None
    camera: str = ''
    fps: float | None = None
    gripper: Literal['', 'closed', 'open'] = ''
    validation: float = 0.0
    split_seed: int = 0
    skip_bad: bool = False
    layouts: int = 50
    pictures: int = 200
    episodes: int | None = None
    relations: int = 0
    seed: int = CHOOSING
    jobs: int = os.cpu_count() or 1
    run: Path | None = None
    blind: bool = False
    device: str = 'auto'


def command(options: Evaluate) -> int:
    """Evaluate, print the tables, write the folder; returns the exit status."""
    show(evaluate(options), Console())
    print(f'{options.out / REPORT_NAME}')
    return 0


def evaluate(options: Evaluate) -> dict[str, Any]:
    """Evaluate and write the folder.

    Returns:
        The content of evaluation.json.

    Raises:
        VlaError: if an option is out of range, the policy cannot be loaded, or it does not fit
            the data.
    """
    _check(options)
    curves = read_curves(options.run) if options.run is not None else {}
    with closing(open_policy(options.checkpoint, options.device)) as policy:
        asked_to_drive = _tasks(options, policy.spec)
        listener = Listener(policy, options.blind)
        scenes, purpose = _scenes(options, policy.spec)
        asked = ask_all(listener, _progress(scenes, options))
        shown = overlays(listener, asked)
        content = _describe(options, policy.spec, purpose) | judge(asked.answers, policy.spec)
        content['latency'] = {
            'infer': _latency(asked.answers.seconds),
            'encode': _latency(asked.encoding),
        }
    drives: list[Drive] = []
    if asked_to_drive:
        drives = drive_all(
            *(options.checkpoint, asked_to_drive, options.jobs, options.blind, options.device)
        )
        content['closed_loop'] = _closed_loop(drives)
    options.out.mkdir(parents=True, exist_ok=True)
    # The JSON comes last and goes first: where it is, the folder is complete.
    (options.out / FILE_NAME).unlink(missing_ok=True)
    asked.answers.save(options.out)
    save_attention(options.out / ATTENTION_NAME, shown)
    content = plain(content)
    write_page(options.out / REPORT_NAME, content, asked.answers, drives, shown, curves)
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    (options.out / FILE_NAME).write_text(text + '\n', encoding='utf-8')
    return content


def judge(answers: Answers, spec: PolicySpec) -> dict[str, Any]:
    """Turn answers into figures with intervals."""

    def figures(measures: Mapping[str, Measure]) -> dict[str, Any]:
        return {name: asdict(estimate(measure)) for name, measure in measures.items()}

    heard = grounding.measures(answers)
    found = {name: estimate(measure) for name, measure in heard.items()}
    axes = metrics.axis_measures(answers, spec)
    units = dict(zip(spec.action_names, spec.action_units, strict=True))
    return {
        'answers': len(answers),
        'metrics': figures(metrics.measures(answers)),
        'axes': {name: {'unit': units[name], **figures(axes[name])} for name in axes},
        'steps': {'step_dt': spec.step_dt, 'mae': metrics.step_errors(answers)},
        'grounding': {
            'verdict': grounding.verdict(found['score'], found.get('direction')),
            **figures(heard),
        },
    }


def plain(value: Any) -> Any:
    """Return a value as JSON has it: NaN and infinities become null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def _check(options: Evaluate) -> None:
    """Refuse options before anything long is done.

    Raises:
        ConfigError: if a number is out of range, the layouts would be for two purposes, or the
            folder holds something else.
    """
    for name, least in (
        ('layouts', 1),
        ('pictures', 1),
        ('episodes', 0),
        ('seed', 0),
        ('jobs', 1),
    ):
        value = getattr(options, name)
        if value is not None and value < least:
            raise ConfigError(f'{name} {value}: expected >= {least}')
    _purpose(options)
    out = options.out
    if out.exists() and not out.is_dir():
        raise ConfigError(f'out {out} is a file: expected a folder')
    parent = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    if not os.access(parent, os.W_OK):
        raise ConfigError(f'out {out}: {parent} cannot be written to: expected a folder that can')
    # An interrupted evaluation leaves some of its files, but for the one that comes last.
    foreign = {path.name for path in out.iterdir()} - _OURS if out.is_dir() else set()
    if foreign and not (out / FILE_NAME).is_file():
        raise ConfigError(
            f'out {out} holds something else: expected a new or empty folder, or that of an '
            'earlier evaluation'
        )


def _episodes(options: Evaluate) -> int:
    if options.episodes is None:
        return 50 if options.data is None else 0
    return options.episodes


def _purpose(options: Evaluate) -> str:
    """Say what the layouts are for that are asked about and driven; empty if there are none.

    Raises:
        ConfigError: if they are for two purposes.
    """
    asked = options.layouts if options.data is None else 0
    count = max(asked, _episodes(options), LOOKED_THROUGH * options.relations)
    return purpose_of(options.seed, options.seed + count - 1) if count else ''


def _tasks(options: Evaluate, spec: PolicySpec) -> list[Task]:
    """Say what is driven; nothing if recordings are measured on and no episodes are asked for."""
    episodes = _episodes(options)
    if (episodes or options.relations) and misfit(spec):
        raise ConfigError(
            f'episodes {episodes}, relations {options.relations}: {spec.model_id} cannot drive '
            f'the simulated robot: {misfit(spec)}: expected 0'
        )
    return tasks(options.seed, episodes, options.relations)


def _scenes(options: Evaluate, spec: PolicySpec) -> tuple[Iterator[Scene], str]:
    """Return what is asked about, and what these pictures, and what is driven, are for."""
    purpose = _purpose(options)
    if options.data is not None:
        # Needs torch, which a machine that evaluates in the simulator may lack.
        from vla_learning.data.source import Recorded, RecordedSource, View

        data = Recorded(
            path=options.data,
            camera=options.camera,
            fps=options.fps,
            validation_share=options.validation,
            seed=options.split_seed,
            skip_bad=options.skip_bad,
            cache=False,
            gripper=options.gripper,
        )
        split = 'validation' if options.validation else 'all'
        source = RecordedSource(data, View.of(spec), 1, split)
        role = role_of(options, source.sha256, _training(options.checkpoint))
        asked = recorded(spec, source, options.pictures, options.seed)
        return asked, '; '.join(filter(None, (role, purpose)))
    layouts = range(options.seed, options.seed + options.layouts)
    return simulated(spec, layouts, _PER_LAYOUT), purpose


def role_of(options: Evaluate, sha256: str, training: Mapping[str, Any]) -> str:
    """Say what recordings were to the training of the policy that is asked about them.

    Args:
        options: which of them are asked about.
        sha256: of the recordings.
        training: what the policy's checkpoint says of it.

    Returns:
        It in words; empty where the checkpoint does not say.

    Raises:
        ConfigError: if the policy was trained on them, and another part was kept back, or its
            gripper was the other way round.
    """
    experiment, facts = training.get('experiment'), training.get('data')
    if not isinstance(facts, Mapping) or not isinstance(experiment, Mapping):
        return ''
    if facts.get('sha256') != sha256:
        return 'other files than those of its training'
    data, train = experiment.get('data', {}), experiment.get('train', {})
    kept, seed, taught = data.get('validation'), train.get('seed'), data.get('gripper', '')
    if options.gripper != taught:
        raise ConfigError(
            f'gripper {options.gripper!r}: the policy was trained on these recordings with '
            f'{taught!r}: expected the same'
        )
    if not options.validation:
        return 'the policy was trained on them: figures flatter it'
    if (options.validation, options.split_seed) != (kept, seed):
        raise ConfigError(
            f'validation {options.validation}, split_seed {options.split_seed}: the policy was '
            f'trained on these recordings, validation {kept} and seed {seed}: expected the same, '
            'for others were trained on; or validation 0, for all'
        )
    return 'kept back from its training'


def _training(checkpoint: str) -> Mapping[str, Any]:
    folder = Path(checkpoint)
    return load_manifest(folder).training if (folder / MANIFEST_NAME).is_file() else {}


def _progress(scenes: Iterator[Scene], options: Evaluate) -> Iterator[Scene]:

    total = options.pictures if options.data is not None else options.layouts * _PER_LAYOUT
    yield from tqdm(scenes, 'asking', total, unit='picture', mininterval=2)


def _describe(options: Evaluate, spec: PolicySpec, purpose: str) -> dict[str, Any]:

    last = options.seed + options.layouts - 1
    data = options.data.name if options.data is not None else f'layouts {options.seed} to {last}'
    return {
        'policy': options.checkpoint,
        'model_id': spec.model_id,
        'model_sha256': spec.model_sha256,
        'blind': options.blind,
        'data': data,
        'purpose': purpose,
        'contract': {
            'action_names': spec.action_names,
            'action_units': spec.action_units,
            'action_scale': spec.action_scale,
        },
        'machine': describe(),
    }


def _latency(seconds: Any) -> dict[str, Any]:

    ms = 1e3 * np.asarray(seconds)
    return {
        'median_ms': float(np.median(ms)),
        'p99_ms': float(np.quantile(ms, 0.99)),
        'n': len(ms),
    }


def _closed_loop(drives: list[Drive]) -> dict[str, Any]:
    """Count by category: `success` and `wrong_object` of go_to, `relations` of the others."""
    result: dict[str, Any] = {}
    for name, category, field in (
        ('success', GO_TO, 'success'),
        ('wrong_object', GO_TO, 'wrong_object'),
        ('relations', RELATIONS, 'success'),
    ):
        chosen = [getattr(drive, field) for drive in drives if drive.category == category]
        if chosen:
            low, high = proportion(sum(chosen), len(chosen))
            rate = sum(chosen) / len(chosen)
            result[name] = {'value': rate, 'low': low, 'high': high, 'groups': len(chosen)}
    return result | {'drives': [drive.plain() for drive in drives]}
