"""The full scale (ResNet and BERT) in small sizes, and once as it is."""

from copy import deepcopy
from dataclasses import replace
import hashlib

import pytest

torch = pytest.importorskip('torch')

from tokenizers import Tokenizer  # noqa: E402
from tokenizers.models import WordLevel  # noqa: E402
from tokenizers.pre_tokenizers import Whitespace  # noqa: E402
from tokenizers.processors import TemplateProcessing  # noqa: E402

from vla_core.errors import CheckpointError, ConfigError  # noqa: E402
from vla_core.policy import native_spec  # noqa: E402
from vla_core.types import CameraSlot  # noqa: E402
from vla_learning import torchvision_beside_cpu  # noqa: E402, F401
from vla_learning.checkpoint import load, save  # noqa: E402
from vla_learning.model import (  # noqa: E402
    Bert,
    create,
    Ids,
    ModelConfig,
    parameter_counts,
    Policy,
)
from vla_learning.model.vision import find_imagenet, ResNetTrunk  # noqa: E402
from vla_learning.optimise.subject import load_subject  # noqa: E402
from vla_learning.optimise.torch_policy import TorchPolicy  # noqa: E402

WORDS = ['[PAD]', '[CLS]', '[SEP]', '[UNK]', 'go', 'to', 'the', 'red', 'blue', 'box', 'ball']
WORDS += ['turn', 'left']
WIDTH = 16
SIZES = {
    'model_type': 'bert',
    'vocab_size': len(WORDS),
    'hidden_size': WIDTH,
    'num_hidden_layers': 3,
    'num_attention_heads': 2,
    'intermediate_size': 20,
}
SMALL = ModelConfig.full(trunk='resnet18', words=WIDTH, tokens=32, hidden=24, horizon=3)


def tokenizer():
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    made = Tokenizer(WordLevel(vocabulary, unk_token=WORDS[3]))
    made.pre_tokenizer = Whitespace()
    made.post_processor = TemplateProcessing(
        single='[CLS] $A [SEP]', special_tokens=[('[CLS]', 1), ('[SEP]', 2)]
    )
    return made


def make(config=SMALL):
    torch.manual_seed(0)
    return Policy(config, Bert.build(SIZES, tokenizer())).eval()


@pytest.fixture(scope='module')
def kept():
    """A policy that no test changes."""
    return make()


@pytest.fixture
def policy(kept):
    return deepcopy(kept)


def picture(count, side=64):
    generator = torch.Generator().manual_seed(2)
    return torch.randint(0, 256, (count, side, side, 3), dtype=torch.uint8, generator=generator)


def test_full_scale_is_what_was_asked_for():
    config = ModelConfig.full()
    assert (config.trunk, config.encoder, config.pooling) == ('resnet50', 'bert', 'mean')
    assert (config.height, config.width, config.grid) == (224, 224, (7, 7))
    assert (config.tokens, config.heads, config.hidden, config.axes) == (768, 8, 512, 7)
    assert config.dropout == 0.1


def test_output_shapes(kept):
    said = kept.encoder.tokenize(['go to the red box', 'turn left'])
    output = kept(picture(2), said)
    assert output.actions.shape == (2, 3, 7)
    assert output.done.shape == (2,)
    assert output.attention.shape == (2, 8, 50)
    assert output.word_attention.shape == (2, 8, 49, 7)
    assert output.vision.shape == (2, 49, 32)
    assert output.fused.shape == output.pooled.shape == (2, 32)
    assert output.sight.shape == (2, 3)
    assert output.actions.abs().max() < 1
    for weights in (output.attention, output.word_attention):
        torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))


@pytest.mark.parametrize('side', [64, 96, 224])
def test_pictures_of_every_size_give_49_tokens(kept, side):
    assert kept.vision(picture(1, side)).shape == (1, 49, 32)


def test_ids_features_and_words_of_a_text_say_the_same(kept):
    ids = kept.encoder.tokenize(['go to the red box'])
    features = kept.encoder.encode(['go to the red box'])
    spoken = [kept(picture(1), said) for said in (ids, features, kept.listen(features))]
    for output in spoken[1:]:
        torch.testing.assert_close(output.actions, spoken[0].actions)


@pytest.mark.parametrize('more', [1, 5])
def test_what_stands_in_the_padding_is_not_heard(kept, more):
    ids = kept.encoder.tokenize(['go to the blue ball'])
    plain = kept(picture(1), ids)
    padding = torch.cat([ids.padding, torch.ones(1, more, dtype=torch.bool)], dim=1)
    for junk in range(0, len(WORDS), 4):
        padded = torch.cat([ids.ids, torch.full((1, more), junk)], dim=1)
        found = kept(picture(1), Ids(padded, padding))
        torch.testing.assert_close(found.actions, plain.actions)
        torch.testing.assert_close(found.pooled, plain.pooled)
        assert found.word_attention[..., -more:].max() == 0


def test_other_words_give_another_action(kept):
    both = kept(picture(1), kept.encoder.tokenize(['go to the red box', 'turn left']))
    assert (both.actions[0] - both.actions[1]).abs().max() > 1e-4


def test_pooled_language_is_the_mean_over_the_words():
    config = ModelConfig.full(trunk='resnet18', words=WIDTH, tokens=WIDTH, hidden=24)
    policy = make(config)
    features = policy.encoder.encode(['go to the red box', 'left'])
    expected = torch.stack([features.tokens[0].mean(0), features.tokens[1, :3].mean(0)])
    torch.testing.assert_close(policy.listen(features).pooled, expected)


def test_every_weight_learns(policy):
    policy.train()
    said = policy.encoder(policy.encoder.tokenize(['go to the red box', 'turn left']))
    output = policy(picture(2), said)
    intent = policy.language.intents(said.tokens, said.padding)
    sums = (output.actions, output.done, output.sight, intent)
    torch.stack([part.square().sum() for part in sums]).sum().backward()
    missing = [name for name, weight in policy.named_parameters() if weight.grad is None]
    assert missing == []


def learning(policy):
    """Backward once; which layers of the encoder and of the trunk moved, by number."""
    policy.train()
    output = policy(picture(2), policy.encoder.tokenize(['go to the red box', 'turn left']))
    output.actions.square().sum().backward()
    return [
        [
            number
            for number, stage in enumerate(part.stages)
            if any(weight.grad is not None for weight in stage.parameters())
        ]
        for part in (policy.encoder, policy.vision)
    ]


@pytest.mark.parametrize(
    ('language', 'vision', 'expected'),
    [
        (0, 0, [[], []]),
        (1, 2, [[3], [3, 4]]),
        (None, None, [[0, 1, 2, 3], [0, 1, 2, 3, 4]]),
    ],
)
def test_frozen_layers_rest_and_the_last_ones_learn(policy, language, vision, expected):
    policy.freeze('language')
    policy.freeze('vision')
    policy.unfreeze('language', language)
    policy.unfreeze('vision', vision)
    statistics = [norm.clone() for norm in buffers(policy)]
    assert learning(policy) == expected
    moved = [not torch.equal(a, b) for a, b in zip(statistics, buffers(policy), strict=True)]
    assert any(moved) == (vision != 0)
    for weight in (policy.vision.project.weight, policy.fusion[0].attention.query.weight):
        assert weight.grad.abs().max() > 0


def buffers(policy):
    return [value for name, value in policy.named_buffers() if name.endswith('running_mean')]


def test_frozen_encoder_drops_nothing_in_training(policy):
    policy.freeze('language')
    policy.train()
    ids = policy.encoder.tokenize(['go to the red box'])
    torch.testing.assert_close(policy.encoder(ids).tokens, policy.encoder(ids).tokens)
    policy.unfreeze('language')
    assert not torch.equal(policy.encoder(ids).tokens, policy.encoder(ids).tokens)


def test_frozen_batch_norm_keeps_its_statistics(policy):
    policy.freeze_batch_norm()
    policy.train()
    before = [value.clone() for value in buffers(policy)]
    policy(picture(2), policy.encoder.tokenize(['left', 'left']))
    assert all(torch.equal(a, b) for a, b in zip(before, buffers(policy), strict=True))


@pytest.mark.parametrize(
    ('part', 'layers', 'message'),
    [('vision', 6, '0 to 5'), ('language', -1, '0 to 4'), ('wheels', 1, 'vision or language')],
)
def test_impossible_freezing_is_refused(policy, part, layers, message):
    with pytest.raises(ConfigError, match=message):
        policy.unfreeze(part, layers)


def test_language_outside_the_policy_cannot_learn():
    with pytest.raises(ConfigError, match='always frozen'):
        Policy(ModelConfig()).unfreeze('language')


def test_encoder_remembers_until_it_learns(policy):
    encoder = policy.encoder
    policy.freeze('language')
    first = encoder.encode(['go to the red box'])
    with torch.no_grad():
        encoder.network.embeddings.word_embeddings.weight.add_(1)
    torch.testing.assert_close(encoder.encode(['go to the red box']).tokens, first.tokens)
    encoder.load_state_dict(encoder.state_dict())
    renewed = encoder.encode(['go to the red box'])
    assert not torch.allclose(renewed.tokens, first.tokens)


def test_texts_are_embedded_the_same_alone_and_among_others(policy):
    texts = ['left', 'go to the red box', 'turn left']
    alone_only = deepcopy(policy.encoder)
    together = policy.encoder.encode(texts)
    for row, text in enumerate(texts):
        alone = alone_only.encode([text])
        length = alone.tokens.shape[1]
        assert torch.equal(together.tokens[row, :length], alone.tokens[0])
        assert together.padding[row].tolist() == [False] * length + [True] * (7 - length)


def test_text_is_cut_at_the_longest_length():
    encoder = Bert.build(SIZES, tokenizer(), max_tokens=6)
    assert encoder.tokenize(['red ' * 100]).ids.shape == (1, 6)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'trunk': 'resnet51'}, 'expected compact or one of'),
        ({'trunk': 'vgg16'}, 'expected compact or one of'),
        ({'words': 17}, 'expected bert and 16'),
        ({'heads': 5}, 'heads divide'),
        ({'dropout': 1.0}, 'dropout'),
        ({'pooling': 'max'}, 'pooling'),
        ({'horizon': 0}, 'horizon'),
    ],
)
def test_sizes_that_do_not_fit_are_refused(changes, message):
    sizes = {'trunk': 'resnet18', 'words': WIDTH, 'tokens': 32, 'hidden': 24} | changes
    with pytest.raises(ConfigError, match=message):
        Policy(ModelConfig.full(**sizes), Bert.build(SIZES, tokenizer()))


def test_bert_comes_from_a_folder_and_nothing_is_downloaded(tmp_path):
    with pytest.raises(ConfigError, match='hf download'):
        create(SMALL, bert=str(tmp_path))


def test_pretrained_bert_of_a_folder_is_taken_over(tmp_path):
    from transformers import PreTrainedTokenizerFast

    source = Bert.build(SIZES, tokenizer())
    source.network.half().save_pretrained(tmp_path)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer()).save_pretrained(tmp_path)
    policy = create(SMALL, bert=str(tmp_path))
    texts = ['go to the red box']
    found, expected = policy.encoder.encode(texts), source.float().encode(texts)
    torch.testing.assert_close(found.tokens, expected.tokens)
    with pytest.raises(ConfigError, match='expected bert and 16'):
        create(replace(SMALL, words=32), bert=str(tmp_path))


@pytest.mark.parametrize(
    'sizes',
    [
        {'model_type': 'distilbert', 'dim': 16, 'n_layers': 2, 'n_heads': 2, 'hidden_dim': 20},
        {**SIZES, 'model_type': 'roberta', 'num_hidden_layers': 2, 'pad_token_id': 0},
    ],
)
def test_relatives_of_bert_do_as_well(sizes):
    encoder = Bert.build({**sizes, 'vocab_size': len(WORDS)}, tokenizer()).eval()
    policy = Policy(SMALL, encoder).eval()
    policy.unfreeze('language', 1)
    ids = encoder.tokenize(['go to the red box', 'left'])
    output = policy(picture(2), ids)
    alone = policy(picture(2)[1:], encoder.encode(['left']))
    torch.testing.assert_close(output.actions[1:], alone.actions)
    output.actions.sum().backward()
    learns = [
        any(weight.grad is not None for weight in stage.parameters()) for stage in encoder.stages
    ]
    assert learns == [False, False, True]


def write_weights(folder, name='resnet18-{}.pth', spoil=False):
    """A state dict of torchvision under its name in the cache, with the hash it claims."""
    from torchvision import models

    torch.manual_seed(5)
    network = models.resnet18(weights=None)
    folder.mkdir(parents=True)
    torch.save(network.state_dict(), folder / 'draft')
    content = (folder / 'draft').read_bytes()
    claimed = hashlib.sha256(content + b'?' * spoil).hexdigest()[:8]
    path = folder / name.format(claimed)
    (folder / 'draft').rename(path)
    return network.eval(), path


def test_imagenet_weights_give_torchvisions_features(tmp_path):
    network, path = write_weights(tmp_path / 'weights')
    trunk = ResNetTrunk(SMALL).eval()
    trunk.load_imagenet(path)
    image = picture(2)
    pixels = image.permute(0, 3, 1, 2) / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    pixels = (pixels - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    body = torch.nn.Sequential(*list(network.children())[:-2])
    with torch.no_grad():
        features = trunk.pool(body(pixels)).flatten(2).transpose(1, 2)
        expected = trunk.project(features) + trunk.position
        torch.testing.assert_close(trunk(image), expected, rtol=1e-4, atol=1e-4)


def test_imagenet_weights_are_found_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    assert find_imagenet('resnet18') is None
    write_weights(tmp_path / 'hub' / 'checkpoints', 'resnet18-f37072fd.pth')
    assert find_imagenet('resnet18').name == 'resnet18-f37072fd.pth'


def test_altered_or_foreign_imagenet_weights_are_refused(tmp_path):
    _, path = write_weights(tmp_path / 'altered', spoil=True)
    with pytest.raises(CheckpointError, match='expected it to start with'):
        ResNetTrunk(SMALL).load_imagenet(path)
    _, path = write_weights(tmp_path / 'other')
    with pytest.raises(CheckpointError, match=r'tensor 1\.2\.bn1\.bias is missing'):
        ResNetTrunk(ModelConfig.full(trunk='resnet34', tokens=32)).load_imagenet(path)


@pytest.mark.slow
def test_full_size_learns_and_comes_back_from_a_checkpoint(tmp_path):
    network = Bert.build({'model_type': 'bert'}, tokenizer())
    policy = Policy(ModelConfig.full(horizon=1), network)
    counts = parameter_counts(policy)
    assert 108e6 < counts['encoder'][0] < 110e6
    assert 25e6 < counts['vision'][0] < 26e6
    policy.train()
    output = policy(picture(2, 224), network.tokenize(['go to the red box', 'turn left']))
    assert output.word_attention.shape == (2, 8, 49, 7)
    output.actions.square().mean().backward()
    assert policy.vision.layers[0][0].weight.grad.abs().max() > 0
    assert network.network.embeddings.word_embeddings.weight.grad.abs().max() > 0

    slot = CameraSlot('front', 224, 224, 'stretch')
    save(tmp_path / 'full', policy, replace(native_spec('full'), cameras=(slot,), horizon=1), {})
    loaded = load(tmp_path / 'full').policy
    policy.eval()
    with torch.no_grad():
        texts, image = ['go to the blue ball'], picture(1, 224)
        expected = policy(image, policy.encoder.encode(texts)).actions
        torch.testing.assert_close(loaded(image, loaded.encoder.encode(texts)).actions, expected)


def test_compiled_encoder_of_a_variant_listens_like_the_networks_own(tmp_path):
    # A compiled module has a length only if what it wraps has one, and so no truth value.
    slot = CameraSlot('front', 224, 224, 'stretch')
    save(tmp_path / 'full', make(), replace(native_spec('full'), cameras=(slot,), horizon=3), {})
    subject = load_subject(tmp_path / 'full')
    listen = torch.compile(subject.policy.encoder, backend='eager')
    own, compiled = TorchPolicy(subject), TorchPolicy(subject, listen=listen)
    expected, found = (policy.encode('turn left').features for policy in (own, compiled))
    torch.testing.assert_close(found.tokens, expected.tokens)
    torch.testing.assert_close(found.pooled, expected.pooled)
