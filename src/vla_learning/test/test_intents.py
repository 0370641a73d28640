"""What is understood is learned apart from all else, and nothing else changes."""

from contextlib import redirect_stdout
from dataclasses import replace
import io
from pathlib import Path

import numpy as np
import pytest
import yaml

torch = pytest.importorskip('torch')
pytest.importorskip('onnx', reason='comes with the train extra')

from vla_core.errors import CheckpointError, ConfigError  # noqa: E402
from vla_core.manifest import load_manifest  # noqa: E402
from vla_core.policy import native_spec  # noqa: E402
from vla_core.types import Intent  # noqa: E402
from vla_inference.onnx_policy import OnnxPolicy  # noqa: E402
from vla_learning.checkpoint import save  # noqa: E402
from vla_learning.cli import main  # noqa: E402
from vla_learning.experiment import IntentConfig  # noqa: E402
from vla_learning.model import ModelConfig, Policy  # noqa: E402
from vla_learning.sim import intents  # noqa: E402
from vla_learning.sim.intents import draw, misled, teach_intents  # noqa: E402
from vla_learning.sim.relations import RELATIONS  # noqa: E402
from vla_learning.sim.reteach import read_sentences, Reteach, reteach  # noqa: E402
from vla_learning.sim.sentences import FIRST_RELATION, NONSENSE, Sentences  # noqa: E402
from vla_learning.sim.views import KINDS  # noqa: E402
from vla_learning.sim.wording import MOTIONS  # noqa: E402
from vla_sim.expert import MOTIONS as MOTION_SPEEDS  # noqa: E402

DEMO = Path(__file__).parents[2] / 'vla_bringup/checkpoints/demo'
SIZES = ModelConfig(words=8, tokens=16, channels=(4, 4, 4), hidden=8)
FEW = IntentConfig(steps=150, batch=64, learning_rate=1e-2, ema=0.9, noise=0.1)
COUNT = FIRST_RELATION + len(RELATIONS)
IMAGES = np.zeros((2, 96, 192, 3), np.uint8)


def expected_of(meaning):
    motion = (meaning >= len(KINDS)) & (meaning < NONSENSE)
    return np.select([meaning == NONSENSE, motion], [Intent.REFUSED, Intent.MOTION], Intent.GOAL)


def make_sentences(meanings, place=None):
    """One word each, whose first numbers say which intent it has, or another place of them."""
    embeddings = np.zeros((len(meanings), 2, 8), np.float16)
    places = expected_of(meanings) if place is None else np.full(len(meanings), place)
    embeddings[np.arange(len(meanings)), 0, places] = 3.0
    texts = np.array([f'sentence {number}' for number in meanings])
    return Sentences(texts, embeddings, np.ones(len(meanings), int), np.array(meanings))


def read(policy, sentences):
    with torch.no_grad():
        tokens, padding = map(
            torch.from_numpy, sentences.gather(np.arange(len(sentences.lengths)))
        )
        return policy.language.intents(tokens, padding).argmax(dim=1).numpy()


@pytest.fixture
def policy(monkeypatch):
    """A network that moves as it is told, but for the sentences named here."""
    torch.manual_seed(0)
    policy = Policy(SIZES).eval()
    policy.otherwise = set()

    def act(policy, image, sentences, which):
        speeds = [MOTION_SPEEDS[MOTIONS[m - len(KINDS)]] for m in sentences.meanings[which]]
        wrong = [text in policy.otherwise and image.any() for text in sentences.texts[which]]
        return np.array(speeds) + 0.31 * np.array(wrong)[:, None] * [0, 1]

    monkeypatch.setattr(intents, '_act', act)
    return policy


def test_drawn_sentences_are_balanced():
    sentences = make_sentences(np.arange(COUNT))
    drawn = draw(sentences, 900, np.random.default_rng(0))
    assert np.bincount(expected_of(sentences.meanings[drawn])).min() > 200
    assert 50 < (sentences.meanings[drawn] >= FIRST_RELATION).sum() < 150


def test_intents_are_learned_and_nothing_else_changes(policy):
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    sentences = make_sentences(np.arange(COUNT))
    assert (read(policy, sentences) != expected_of(sentences.meanings)).any()
    teach_intents(policy, sentences, IMAGES, FEW)
    np.testing.assert_array_equal(read(policy, sentences), expected_of(sentences.meanings))
    changed = {n for n, value in policy.state_dict().items() if not torch.equal(value, before[n])}
    assert changed
    assert all(name.startswith('language.intent') for name in changed)
    assert not policy.language.training
    assert not any(module.training for module in policy.language.modules())


def test_the_same_seed_gives_the_same_head_whatever_was_there_before(policy):
    sentences = make_sentences(np.arange(COUNT))
    few = IntentConfig(steps=5, batch=16)
    heads = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(heads))
        teach_intents(policy, sentences, IMAGES, IntentConfig(steps=5, batch=16, seed=seed))
        heads.append(policy.language.intent[-1].weight.clone())
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])
    state = torch.get_rng_state()
    teach_intents(policy, sentences, IMAGES, few)
    assert torch.equal(torch.get_rng_state(), state)


def test_what_would_be_driven_otherwise_is_refused(policy):
    """In one of the pictures is enough; nothing but its own words tells it from the others."""
    sentences = make_sentences(np.arange(COUNT))
    for kind, place in ((len(KINDS), 5), (len(KINDS) + 3, 6)):
        sentences.embeddings[kind, 0] = 0
        sentences.embeddings[kind, 0, place] = 3
        policy.otherwise.add(f'sentence {kind}')
    images = IMAGES.copy()
    images[1] = 9
    assert np.flatnonzero(misled(policy, sentences, images)).tolist() == [18, 21]
    assert teach_intents(policy, sentences, images, FEW) == ['sentence 18', 'sentence 21']
    expected = expected_of(sentences.meanings)
    expected[[18, 21]] = Intent.REFUSED
    np.testing.assert_array_equal(read(policy, sentences), expected)
    assert expected_of(sentences.meanings)[18] == Intent.MOTION
    assert not misled(policy, sentences, IMAGES).any()


def test_own_sentences_are_learned_besides(policy):
    """Nothing of the grammar looks like it: left alone the head would not know."""
    sentences = make_sentences(np.arange(COUNT))
    own = make_sentences(np.array([NONSENSE]), place=5)
    for meaning, wanted in ((NONSENSE, Intent.REFUSED), (len(KINDS), Intent.MOTION)):
        given = replace(own, meanings=np.array([meaning]))
        teach_intents(policy, sentences, IMAGES, FEW, given)
        assert read(policy, own)[0] == wanted
    np.testing.assert_array_equal(read(policy, sentences), expected_of(sentences.meanings))
    policy.otherwise.add(own.texts[0])
    given = replace(own, meanings=np.array([len(KINDS)]))
    assert teach_intents(policy, sentences, np.ones_like(IMAGES), FEW, given) == list(own.texts)
    assert read(policy, own)[0] == Intent.REFUSED


@pytest.fixture(scope='module')
def taught(tmp_path_factory):
    folder = tmp_path_factory.mktemp('taught')
    mine = {'refused': ['sing to the {o}'], 'turn right': ['rotate to the right', 'astern']}
    (folder / 'own.yaml').write_text(yaml.safe_dump(mine | {'move back': ['reverse']}))
    few = ('--sayings', '1', '--nonsense', '60', '--intents.steps', '3', '--intents.batch', '16')
    own = ('--sentences', str(folder / 'own.yaml'))
    said = io.StringIO()
    with redirect_stdout(said), pytest.MonkeyPatch.context() as patch:
        # 'astern' drives forwards in any picture.
        patch.setattr('vla_learning.sim.recipe.SHOWN', 2)
        assert main(['intents', str(DEMO), str(folder / 'taught'), *few, *own]) == 0
    assert said.getvalue().count('refused, for') == 1
    assert "'astern': refused, for it would move another way" in said.getvalue()
    return folder / 'taught'


def test_a_taught_checkpoint_drives_as_before_to_the_bit(taught):
    for name in ('policy.onnx', 'language_mean.npz', 'tokenizer.json'):
        assert (taught / name).read_bytes() == (DEMO / name).read_bytes()
    one, other = OnnxPolicy(DEMO), OnnxPolicy(taught)
    for text in ('go to the red box', 'turn left', 'what is the time'):
        before, after = one.encode(text).features, other.encode(text).features
        np.testing.assert_array_equal(before.tokens, after.tokens)
        np.testing.assert_array_equal(before.pooled, after.pooled)
    assert (taught / 'language.onnx').read_bytes() != (DEMO / 'language.onnx').read_bytes()


def test_a_taught_checkpoint_says_how_it_was_taught(taught):
    before, after = load_manifest(DEMO), load_manifest(taught)
    assert after.training['experiment'] == before.training['experiment']
    how = after.training['intents']
    assert how['own'] == 51
    assert how['sentences'] > 300
    # 'astern' at least; most motions are driven as they are meant.
    assert 1 <= how['refused_motions'] < 0.1 * how['sentences']
    assert how['config']['steps'] == 3
    assert after.parity['files_sha256'] == after.files_sha256
    apart, was = (m.parity['largest_difference'] for m in (after, before))
    assert apart['actions'] == was['actions']
    assert 0.0 < apart['intent'] < 1e-4
    assert apart['intent'] != was['intent']
    assert after.spec.model_sha256 != before.spec.model_sha256
    assert after.spec.envelope == before.spec.envelope


@pytest.mark.parametrize('layer', ['project.0', 'summary'])
def test_other_features_are_never_written(tmp_path, monkeypatch, layer):
    """Whatever the head's teacher did to the rest of the network."""

    def spoil(policy, *given):
        policy.language.get_submodule(layer).bias.data[3] += 0.01
        return []

    monkeypatch.setattr(intents, 'teach_intents', spoil)
    # What it would learn from is never read.
    learned = make_sentences(np.arange(COUNT))
    monkeypatch.setattr('vla_learning.sim.sentences.training_sentences', lambda *given: learned)
    with pytest.raises(CheckpointError, match='would change: expected none'):
        reteach(Reteach(DEMO, tmp_path / 'out'))
    assert not (tmp_path / 'out').exists()


def test_what_is_read_cannot_be_written():
    with pytest.raises(ConfigError, match='is what is read'):
        reteach(Reteach(DEMO, DEMO))
    with pytest.raises(ConfigError, match='lies in what is read'):
        reteach(Reteach(DEMO, DEMO / 'a/b'))
    assert not (DEMO / 'a').exists()


def test_a_checkpoint_of_the_trainer_is_refused(tmp_path, capsys):
    policy = Policy(ModelConfig())
    save(tmp_path / 'native', policy, native_spec('native'), {})
    assert main(['intents', str(tmp_path / 'native'), str(tmp_path / 'out')]) == 1
    assert "policy 'native': expected onnx" in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('goals: [go]', "unknown key 'goals': expected"),
        ('goal: go to the {o}', 'goal: expected a list of texts'),
        ('goal: [3]', 'goal: expected a list of texts'),
        ('goal: [" "]', "goal: ' ': instruction is empty"),
        ('goal: ["a\\u200b\\0", "\\u200b"]', 'instruction is empty'),
        (f'refused: [{"so " * 300}]', 'instruction of 899 characters: expected at most 512'),
        (
            'goal: ["sing to {o}"]\nrefused: ["sing to {o}"]',
            'is under goal too: expected one place',
        ),
        ('turn left: [swing]\nturn right: [swing]', 'is under turn left too: expected one place'),
        ('motion: [go]', "unknown key 'motion': expected"),
        ('goal: ["go to the {n}"]', 'expected no braces but those of {o}'),
        ('turn left: ["turn to the {o}"]', 'expected no thing in a motion'),
        ('goal: []', '0 sentences: expected 1 to'),
        ('{}', '0 sentences: expected 1 to'),
    ],
)
def test_a_wrong_file_of_sentences_is_named(tmp_path, text, message):
    file = tmp_path / 'own.yaml'
    file.write_text(text)
    with pytest.raises(ConfigError) as error:
        read_sentences(file)
    assert message in str(error.value)
    assert 'own.yaml' in str(error.value)


def test_places_are_filled_with_every_known_thing(tmp_path):
    file = tmp_path / 'own.yaml'
    file.write_text('goal: ["Roam to the {o}", roam]\nturn right: [spin me]\n')
    found = read_sentences(file)
    assert len(found) == 6 * 8 + 2
    assert ('Roam to the purple column', 'goal') in found
    assert found[-2:] == [('roam', 'goal'), ('spin me', 'turn right')]
