from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import pytest
import yaml

pytest.importorskip('torch')

from vla_core.errors import ConfigError
from vla_learning.experiment import (
    Experiment,
    FILE_NAME,
    load_experiment,
    same,
    save_experiment,
)
from vla_learning.experiment_page import page
from vla_learning.model import ModelConfig
from vla_learning.structure import build, check, describe, leaves, plain, Range
from vla_learning.training.command import parse

EXPERIMENTS = sorted((Path(__file__).parents[1] / 'experiments').glob('*.yaml'))
SMALL = {'data': {'kind': 'sim'}, 'train': {'steps': 10}}


@dataclass(frozen=True)
class Inner:
    share: Annotated[float, Range(0, 1)] = 0.5
    sizes: tuple[int, int] = (1, 2)
    weights: Annotated[tuple[float, ...], Range(0)] = ()

    def __post_init__(self):
        check(self)


@dataclass(frozen=True)
class Outer:
    name: str
    steps: Annotated[int | None, Range(1)] = None
    kind: Literal['a', 'b'] = 'a'
    path: Path | None = None
    inner: Inner = field(default_factory=Inner)

    def __post_init__(self):
        check(self)


def write(folder, values):
    path = folder / 'my.yaml'
    path.write_text(yaml.safe_dump(values))
    return path


def test_values_become_the_types_of_their_fields():
    found = build(
        Outer,
        {'name': 'x', 'steps': 3, 'path': 'a/b', 'inner': {'share': 1, 'sizes': [3, 4]}},
        'x.yaml',
    )
    assert found == Outer('x', 3, 'a', Path('a/b'), Inner(1.0, (3, 4)))
    assert type(found.inner.share) is float
    assert build(Outer, plain(found), 'again') == found


@pytest.mark.parametrize(
    ('values', 'message'),
    [
        ({}, r"x: key 'name' is missing"),
        ({'name': 'x', 'stps': 3}, r"x: unknown key 'stps': expected name, steps, kind"),
        ({'name': 'x', 'steps': 0}, r'x: steps is 0: expected at least 1'),
        ({'name': 'x', 'steps': True}, r'steps is True: expected int or none'),
        ({'name': 'x', 'kind': 'c'}, r"kind is 'c': expected one of a, b"),
        ({'name': 3}, r'name is 3: expected str'),
        ({'name': 'x', 'inner': 3}, r'x: inner is 3: expected a mapping'),
        ({'name': 'x', 'inner': {'share': 1.5}}, r'inner: share is 1\.5: expected 0 to 1'),
        ({'name': 'x', 'inner': {'share': float('nan')}}, r'share is nan: expected 0 to 1'),
        ({'name': 'x', 'inner': {'share': '1e-4'}}, r'float.*YAML reads 1e-4 as text'),
        ({'name': 'x', 'inner': {'sizes': [1, 2, 3]}}, r'expected list of 2 int'),
        ({'name': 'x', 'inner': {'weights': [1.0, -1.0]}}, r'weights is .*at least 0'),
    ],
)
def test_mistakes_are_named(values, message):
    with pytest.raises(ConfigError, match=message):
        build(Outer, values, 'x')


@pytest.mark.parametrize('path', EXPERIMENTS, ids=lambda path: path.stem)
def test_shipped_experiments_load_and_are_short(path):
    assert isinstance(load_experiment(path), Experiment)
    assert len(path.read_text().splitlines()) <= 40


def test_seed_has_the_constants_of_the_seed():
    experiment = load_experiment(next(path for path in EXPERIMENTS if path.stem == 'seed'))
    train = experiment.train
    assert (train.loss.kind, train.learning_rate, train.weight_decay) == ('mse', 1e-4, 0.01)
    assert (train.schedule, train.restart_steps, train.restart_factor) == (
        'warm_restarts',
        1000,
        2,
    )
    assert (train.clip, train.epochs, train.batch) == (1.0, 50, 16)
    assert (train.checkpoint_epochs, train.validation_steps, train.log_steps) == (5, 1000, 100)
    assert experiment.model == ModelConfig.full(horizon=1)
    assert experiment.randomise.real_ratio == 0.5


def test_section_that_is_left_out_changes_no_picture(tmp_path):
    assert load_experiment(write(tmp_path, SMALL)).randomise.real_ratio == 1.0
    assert load_experiment(write(tmp_path, SMALL | {'randomise': {}})).randomise.real_ratio == 0.5


@pytest.mark.parametrize(
    ('section', 'message'),
    [
        ({'model': {'scale': 'huge'}}, r"my\.yaml: model: scale is 'huge': expected one of"),
        ({'data': {'kind': 'recorded'}}, r"data: path is '' and kind recorded: expected a path"),
        ({'train': {'batch': 8}}, r'train: neither steps nor epochs'),
        ({'randomise': {'shadow': 2.0}}, r'my\.yaml: randomise: .*shadow is 2\.0'),
        ({'model': {'heads': 3}}, r'my\.yaml: model: .*3 heads'),
    ],
)
def test_sections_that_do_not_fit_are_named(tmp_path, section, message):
    with pytest.raises(ConfigError, match=message):
        load_experiment(write(tmp_path, SMALL | section))


def test_command_line_changes_every_value(tmp_path):
    path = write(tmp_path, SMALL | {'model': {'scale': 'full', 'horizon': 2}})
    changes = (
        '--train.steps 20 --train.loss.kind l1 --train.loss.axis-weights 1 2 --model.hidden 64'
    )
    changes += ' --data.sim.frames 5 --randomise.real-ratio 0.25 --train.freeze-batch-norm'
    found = parse('vla-learn train', [str(path), *changes.split(), '--run', 'here'])
    assert found.run == Path('here')
    expected = load_experiment(path)
    train = replace(
        expected.train,
        steps=20,
        freeze_batch_norm=True,
        loss=replace(expected.train.loss, kind='l1', axis_weights=(1.0, 2.0)),
    )
    data = replace(expected.data, sim=replace(expected.data.sim, frames=5))
    assert found.config == Experiment(
        data=data,
        train=train,
        model=ModelConfig.full(horizon=2, hidden=64),
        randomise=replace(expected.randomise, real_ratio=0.25),
    )
    assert parse('vla-learn train', [str(path), '--folder', 'there']).run == Path('there')
    with pytest.raises(ConfigError, match='batch is 0: expected at least 1'):
        parse('vla-learn train', [str(path), '--train.batch', '0'])
    with pytest.raises(ConfigError, match='expected the file first'):
        parse('vla-learn train', ['--train.batch', '1'])


def test_saved_experiment_is_the_same_and_another_one_is_named(tmp_path):
    experiment = load_experiment(write(tmp_path, SMALL))
    save_experiment(experiment, tmp_path)
    again = load_experiment(tmp_path / FILE_NAME)
    assert again == experiment
    same(experiment, plain(again), tmp_path)
    same(replace(experiment, train=replace(experiment.train, workers=3)), plain(again), tmp_path)
    other = replace(experiment, model=replace(experiment.model, hidden=7))
    with pytest.raises(ConfigError, match=r'model\.hidden was 512 and is 7'):
        same(other, plain(again), tmp_path)


def test_ranges_and_names_are_said_in_words():
    assert describe(Annotated[int | None, Range(1)]) == 'int or none, at least 1'
    assert describe(tuple[float, float]) == 'list of 2 float'
    assert dict(leaves({'a': {'b': 1, 'c': {'d': 2}}})) == {'a.b': 1, 'a.c.d': 2}


def test_reference_page_is_that_of_the_program():
    written = Path(__file__).parents[3] / 'docs/reference/experiment.md'
    assert written.read_text(encoding='utf-8') == page(), (
        'python -m vla_learning.experiment_page > docs/reference/experiment.md'
    )
