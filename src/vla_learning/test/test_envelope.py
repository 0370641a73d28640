"""What a policy was trained on stands in its manifest, in the units of its chunks."""

from dataclasses import replace
from pathlib import Path
import shutil

import numpy as np
import pytest

torch = pytest.importorskip('torch')

import yaml  # noqa: E402

from vla_core.envelope import FEATURES, features_of, Range  # noqa: E402
from vla_core.manifest import load_manifest, sha256  # noqa: E402
from vla_core.policy import native_spec  # noqa: E402
from vla_learning import envelope  # noqa: E402
from vla_learning.cli import main  # noqa: E402
from vla_learning.data.batch import Batch  # noqa: E402
from vla_learning.data.statistics import Accumulator  # noqa: E402
from vla_learning.envelope import action_ranges, measure  # noqa: E402

DEMO = Path(__file__).parents[2] / 'vla_bringup' / 'checkpoints' / 'demo'
SPEC = replace(native_spec('small'), action_scale=(0.5, 1.0, 1.0, 1.0, 1.0, 2.0, 0.8))


class FakeSource:
    """Random pictures and actions; the last frame of each batch taught nothing."""

    def __init__(self, samples=None, images=3):
        self.samples = samples
        self.images = images
        self.asked = []

    def batch(self, step, part=0, parts=1):
        self.asked.append(step)
        random = np.random.default_rng(step)
        count = self.images
        valid = np.ones((2 * count, 8, 7), bool)
        actions = random.uniform(-1, 1, (2 * count, 8, 7)).astype(np.float32)
        valid[-1], actions[-1] = False, 99.0
        return Batch(
            image=torch.from_numpy(random.integers(0, 256, (count, 96, 192, 3), dtype=np.uint8)),
            text=('go',) * 2 * count,
            actions=torch.from_numpy(actions),
            valid=torch.from_numpy(valid),
            rows=torch.arange(count),
        )


def taught(source):
    batches = [source.batch(step) for step in list(source.asked)]
    return np.concatenate([one.actions[one.valid.all(-1)].numpy() for one in batches])


def test_envelope_is_that_of_what_the_batches_teach_in_si(monkeypatch):
    monkeypatch.setattr(envelope, 'PICTURES', 10)
    source = FakeSource()
    found = measure(source, SPEC, 'nothing')
    assert source.asked == [0, 1, 2, 3]
    rows = SPEC.to_si(taught(source))
    assert found.source == '10 pictures of nothing'
    assert list(found.actions) == list(SPEC.action_names)
    for name, one, column in zip(SPEC.action_names, found.actions.values(), rows.T, strict=True):
        assert one.count == len(rows) == 160, name
        numbers = (one.mean, one.std, one.min, one.max)
        expected = (column.mean(), column.std(), column.min(), column.max())
        assert numbers == pytest.approx(expected, rel=1e-4, abs=1e-6), name
        assert (one.q01, one.q99) == pytest.approx(np.quantile(column, (0.01, 0.99)), rel=1e-4)
    assert 0.0 <= found.actions['gripper'].min < 0.1
    assert 0.7 < found.actions['gripper'].max <= 0.8
    pictures = np.concatenate([source.batch(step).image.numpy() for step in range(4)])[:10]
    shown = np.array([features_of(picture) for picture in pictures])
    assert found.images['front']['luminance'].mean == pytest.approx(shown[:, 0].mean(), rel=1e-4)
    assert [one.count for one in found.images['front'].values()] == [10] * len(FEATURES)
    assert found.state == {}
    replace(SPEC, envelope=found)


def test_data_set_that_is_small_is_looked_at_once():
    source = FakeSource(samples=7)
    assert measure(source, SPEC, 'little').source == '7 pictures of little'
    assert source.asked == [0, 1, 2]


def test_statistics_of_a_data_set_end_where_teaching_ends():
    random = np.random.default_rng(0)
    rows = random.normal(0.0, 1.0, (5000, 3)) * (0.3, 3.0, 1.0)
    names = ('linear.x', 'angular.z', 'gripper')
    accumulator = Accumulator(names)
    accumulator.add(rows)
    found = action_ranges(accumulator.finish(), SPEC)
    assert tuple(found) == names
    native = np.zeros((5000, 7))
    columns = [SPEC.action_names.index(name) for name in names]
    native[:, columns] = (
        rows / np.array(SPEC.action_scale)[columns] * (1, 1, 2) - (0, 0, 1)
    ).clip(-1, 1)
    expected = SPEC.to_si(native)[:, columns]
    for one, column in zip(found.values(), expected.T, strict=True):
        assert (one.min, one.max) == pytest.approx((column.min(), column.max()), abs=1e-5)
        assert (one.q01, one.q99) == pytest.approx(np.quantile(column, (0.01, 0.99)), abs=1e-5)
        assert one.count == 5000
    assert found['gripper'].std == pytest.approx(rows[:, 2].std(), rel=1e-4)


@pytest.fixture
def demo(tmp_path):
    return Path(shutil.copytree(DEMO, tmp_path / 'demo'))


def edit(folder, change):
    file = folder / 'manifest.yaml'
    tree = yaml.safe_load(file.read_text())
    change(tree)
    file.write_text(yaml.safe_dump(tree))


def test_command_measures_the_training_layouts_and_leaves_the_files_alone(demo, capsys):
    shipped = load_manifest(demo).spec.envelope
    edit(demo, lambda tree: tree.pop('envelope'))
    before = yaml.safe_load((demo / 'manifest.yaml').read_text())
    hashes = {path.name: sha256(path) for path in demo.iterdir() if path.suffix != '.yaml'}
    assert main(['envelope', str(demo), '--frames', '24']) == 0
    assert 'linear.x: -0.3 to 0.4' in capsys.readouterr().out
    found = load_manifest(demo).spec.envelope
    assert {path.name: sha256(path) for path in demo.iterdir() if path.name in hashes} == hashes
    after = yaml.safe_load((demo / 'manifest.yaml').read_text())
    after.pop('envelope')
    assert after == before
    for name, one in found.actions.items():
        whole: Range = shipped.actions[name]
        assert whole.min <= one.min <= one.max <= whole.max, name
        assert one.count < whole.count
    assert found.images['front']['luminance'].count == 24
    assert 0.3 < found.images['front']['luminance'].mean < 0.7


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda tree: tree['training'].update(layout_version=0), 'layout version 0: expected 1'),
        (lambda tree: tree.update(training={'imported': {}}), 'does not say what it was trained'),
    ],
)
def test_checkpoint_whose_training_is_not_there_is_left_as_it_is(demo, capsys, change, message):
    edit(demo, change)
    before = (demo / 'manifest.yaml').read_bytes()
    assert main(['envelope', str(demo), '--frames', '4']) == 1
    assert message in capsys.readouterr().err
    assert (demo / 'manifest.yaml').read_bytes() == before


def test_no_frames_are_refused(demo, capsys):
    assert main(['envelope', str(demo), '--frames', '0']) == 1
    assert 'frames 0: expected at least 1' in capsys.readouterr().err
