"""A file of the seed, written by a model of its own, gives a checkpoint that computes the same."""

from pathlib import Path
import pickle
import re

import numpy as np
import pytest

torch = pytest.importorskip('torch')

from torch import nn  # noqa: E402

from vla_core.errors import CheckpointError  # noqa: E402
from vla_core.types import Intent, Observation  # noqa: E402
from vla_learning import torchvision_beside_cpu  # noqa: E402, F401
from vla_learning.checkpoint import load  # noqa: E402
from vla_learning.model.encoders import Bert, read_tokenizer  # noqa: E402
from vla_learning.model.minilm import installed_tokenizer  # noqa: E402
from vla_learning.native_policy import NativePolicy  # noqa: E402
from vla_learning.seed_import import command, import_seed, ImportSeed  # noqa: E402
from vla_learning.seed_layout import rename  # noqa: E402

WIDTH, HIDDEN = 16, 24
SIZES = {
    'model_type': 'bert',
    'vocab_size': 30522,
    'hidden_size': WIDTH,
    'num_hidden_layers': 2,
    'num_attention_heads': 1,
    'intermediate_size': 20,
}


class Part(nn.Module):
    """Submodules under the names that are given."""

    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)


class Seed(nn.Module):
    """The seed as it was: words averaged before attention, an action query nobody asks."""

    def __init__(self):
        super().__init__()
        from torchvision import models
        from transformers import BertConfig, BertModel

        trunk = nn.Sequential(*list(models.resnet18(weights=None).children())[:-2])
        self.vision_encoder = Part(backbone=trunk, projection=nn.Linear(512, WIDTH))
        sizes = {name: value for name, value in SIZES.items() if name != 'model_type'}
        self.language_encoder = Part(bert=BertModel(BertConfig(**sizes)))
        attention = nn.MultiheadAttention(WIDTH, 8, dropout=0.1, batch_first=True)
        nn.init.normal_(attention.in_proj_bias)
        self.fusion = Part(cross_attention=attention, layer_norm=nn.LayerNorm(WIDTH))
        mlp = [nn.Linear(WIDTH, HIDDEN), nn.ReLU(), nn.Dropout(0.1)]
        mlp += [nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Dropout(0.1)]
        mlp += [nn.Linear(HIDDEN, 7), nn.Tanh()]
        self.action_decoder = Part(decoder=nn.Sequential(*mlp))
        self.action_decoder.action_query = nn.Parameter(torch.randn(1, 1, WIDTH))

    def forward(self, pixels, ids):
        """Pixels [1, 3, 224, 224] in 0..1 to actions [1, 7]."""
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        pixels = (pixels - mean.view(3, 1, 1)) / std.view(3, 1, 1)
        patches = self.vision_encoder.backbone(pixels).flatten(2).transpose(1, 2)
        patches = self.vision_encoder.projection(patches)
        words = self.language_encoder.bert(input_ids=ids).last_hidden_state.mean(1, keepdim=True)
        heard, _ = self.fusion.cross_attention(patches, words, words)
        fused = self.fusion.layer_norm(patches + heard).mean(dim=1)
        return self.action_decoder.decoder(fused)


@pytest.fixture(scope='module')
def seed():
    torch.manual_seed(0)
    return Seed().eval()


@pytest.fixture
def file(seed, tmp_path):
    path = tmp_path / 'seed.pth'
    torch.save({'epoch': 5, 'model_state_dict': seed.state_dict(), 'loss': 0.1}, path)
    return path


@pytest.fixture(scope='module')
def imported(seed, tmp_path_factory):
    """The file as it is, what was said of it, and the policy."""
    path = tmp_path_factory.mktemp('seed') / 'seed.pth'
    torch.save({'epoch': 5, 'model_state_dict': seed.state_dict()}, path)
    return path, import_seed(options(path)), load(path.with_name('imported'))


def options(file, **changes):
    return ImportSeed(file, file.with_name('imported'), trunk='resnet18', **changes)


def test_imported_policy_computes_what_the_seed_computed(seed, file, capsys):
    assert command(options(file)) == 0
    shown = capsys.readouterr().out
    for part in ('vision_encoder', 'language_encoder', 'fusion', 'action_decoder'):
        assert part in shown
    policy = NativePolicy(file.with_name('imported'), 'cpu')
    image = np.random.default_rng(0).integers(0, 256, (224, 224, 3)).astype(np.uint8)
    language = policy.encode('go to the red cup')
    assert language.intent is Intent.GOAL
    found = policy.infer(Observation({'front': image}, 0), language)
    ids = torch.tensor([read_ids('go to the red cup')])
    with torch.no_grad():
        expected = seed(torch.tensor(image / 255).permute(2, 0, 1)[None].float(), ids)
    np.testing.assert_allclose(found.actions, expected.numpy(), atol=2e-6)
    assert np.abs(found.actions).max() > 0.01
    assert found.done < 1e-3


def read_ids(text):
    bert = Bert.build(SIZES, read_tokenizer(installed_tokenizer()))
    return bert.tokenize([text]).ids[0].tolist()


def test_every_tensor_is_accounted_for(seed, imported):
    _, report, (_, manifest) = imported
    assert set(report.mapped) | set(report.left_out) == set(seed.state_dict())
    assert len(report.mapped) + len(report.left_out) == len(seed.state_dict())
    assert {name.split('.')[-1] for name in report.left_out} == {'action_query', 'weight', 'bias'}
    assert report.unknown == report.missing == ()
    assert manifest.training['imported']['file'] == 'seed.pth'
    assert manifest.training['imported']['tensors'] == len(report.mapped)


def test_imported_attention_can_learn_to_tell_words_apart(imported):
    policy = imported[2].policy
    image = torch.randint(0, 256, (1, 224, 224, 3))
    output = policy(image, policy.encoder.tokenize(['go to the red cup']))
    torch.testing.assert_close(
        output.word_attention, torch.full_like(output.word_attention, 1 / 7), rtol=1e-5, atol=0
    )
    output.actions.sum().backward()
    assert policy.fusion[0].attention.query.weight.grad.abs().max() > 0


def test_query_is_kept_on_demand(seed, file):
    import_seed(options(file, keep_query=True))
    query = load(file.with_name('imported')).policy.fusion[0].attention.query
    torch.testing.assert_close(
        query.weight.data, seed.fusion.cross_attention.in_proj_weight[:WIDTH].data
    )


def change(file, **changes):
    state = torch.load(file, weights_only=True)['model_state_dict']
    for name, value in changes.items():
        name = name.replace('__', '.')
        if value is None:
            del state[name]
        else:
            state[name] = value
    torch.save({'model_state_dict': state}, file)


BIAS = 'vision_encoder__projection__bias'


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({BIAS: None}, r'vision\.project\.bias'),
        ({'memory__weight': torch.zeros(3)}, r'memory\.weight'),
        ({BIAS: torch.zeros(WIDTH + 1)}, r'vision\.project\.bias has shape \(17,\)'),
        ({BIAS: torch.full((WIDTH,), torch.nan)}, 'expected finite'),
    ],
)
def test_other_layout_is_refused(file, changes, message):
    change(file, **changes)
    with pytest.raises(CheckpointError, match=message):
        import_seed(options(file))
    assert not file.with_name('imported').exists()


def test_partial_import_names_what_is_random(file):
    change(file, **{BIAS: None, 'memory__weight': torch.zeros(3)})
    report = import_seed(options(file, partial=True))
    assert report.missing == ('vision.project.bias',)
    assert report.unknown == ('memory.weight',)


class Payload:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), 'w'))


@pytest.mark.parametrize(
    'save', [torch.save, lambda data, path: path.write_bytes(pickle.dumps(data))]
)
def test_code_in_the_file_is_never_run(tmp_path, save):
    file, trace = tmp_path / 'evil.pth', tmp_path / 'trace'
    save({'model_state_dict': {'weight': Payload(trace)}}, file)
    with pytest.raises(CheckpointError, match=r'evil\.pth'):
        import_seed(options(file))
    assert not trace.exists()
    assert not file.with_name('imported').exists()


@pytest.mark.parametrize('content', [b'', b'PK\x03\x04', b'no tensors'])
def test_damaged_file_is_refused(tmp_path, content):
    file = tmp_path / 'seed.pth'
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=r'seed\.pth'):
        import_seed(options(file))


def test_cut_file_is_refused(file):
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=r'seed\.pth'):
        import_seed(options(file))


def test_archive_that_unpacks_to_more_than_allowed_is_refused(file, monkeypatch):
    monkeypatch.setattr('vla_learning.model.tensors.LARGEST', file.stat().st_size - 1)
    with pytest.raises(CheckpointError, match='expected at most'):
        import_seed(options(file))


def test_table_in_the_documentation_is_the_one_in_use():
    page = Path(__file__).parents[3] / 'docs' / 'how-to' / 'import-and-export.md'
    rows = re.findall(
        r'^\| `([\w.]+)` \| (?:`([\w.]+)`|left out) \|$', page.read_text(), re.MULTILINE
    )
    assert len(rows) > 15
    found, left_out, unknown = rename([name for name, _ in rows if 'resnet' not in name])
    assert unknown == []
    for theirs, ours in rows:
        if 'resnet' in theirs:
            assert rename([theirs])[0] == {ours: theirs}
        elif ours:
            assert found[ours] == theirs
        else:
            assert theirs in left_out
