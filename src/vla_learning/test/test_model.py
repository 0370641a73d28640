import pytest

from vla_core.types import Intent

torch = pytest.importorskip('torch')

from vla_learning.model import Attention, ModelConfig, Policy, Words  # noqa: E402

SMALL = ModelConfig(tokens=32, channels=(8, 16, 16), hidden=32)


@pytest.fixture
def policy():
    torch.manual_seed(0)
    return Policy(SMALL).eval()


def speak(policy, sentences, words=5, padded=0):
    generator = torch.Generator().manual_seed(1)
    embeddings = torch.randn(sentences, words, SMALL.words, generator=generator)
    embeddings = torch.cat([embeddings, 9 * torch.ones(sentences, padded, SMALL.words)], dim=1)
    padding = torch.arange(words + padded).expand(sentences, -1) >= words
    return policy.language(embeddings, padding)


def picture(count):
    generator = torch.Generator().manual_seed(2)
    return torch.randint(0, 256, (count, 96, 192, 3), generator=generator).float()


def test_output_shapes(policy):
    output = policy(picture(2), speak(policy, 6))
    tokens = SMALL.grid[0] * SMALL.grid[1]
    assert output.actions.shape == (6, 8, 7)
    assert output.done.shape == (6,)
    assert output.attention.shape == (6, SMALL.heads, 1 + tokens)
    assert output.word_attention.shape == (6, SMALL.heads, tokens, 5)
    assert output.vision.shape == (2, tokens, 32)
    assert output.fused.shape == (6, 32)
    assert output.actions.abs().max() <= 1


def test_padding_changes_nothing(policy):
    plain = policy(picture(1), speak(policy, 1))
    padded = policy(picture(1), speak(policy, 1, padded=4))
    torch.testing.assert_close(padded.actions, plain.actions)
    torch.testing.assert_close(padded.done, plain.done)
    assert padded.word_attention[..., 5:].max() == 0


def test_padding_changes_no_intent(policy):
    embeddings = torch.randn(2, 4, SMALL.words)
    plain = policy.language.intents(embeddings, torch.zeros(2, 4, dtype=torch.bool))
    more = torch.cat([embeddings, torch.randn(2, 3, SMALL.words)], dim=1)
    padded = policy.language.intents(more, (torch.arange(7) >= 4).expand(2, -1))
    torch.testing.assert_close(padded, plain)


def test_attention_sums_to_one(policy):
    output = policy(picture(1), speak(policy, 1, padded=2))
    torch.testing.assert_close(output.attention.sum(-1), torch.ones(1, SMALL.heads))
    total = output.word_attention.sum(-1)
    torch.testing.assert_close(total, torch.ones_like(total))


def test_several_instructions_for_a_picture_equal_one_by_one(policy):
    images, words = picture(2), speak(policy, 4)
    together = policy(images, words)
    for row in range(4):
        one = Words(*(part[row : row + 1] for part in words))
        alone = policy(images[row // 2 : row // 2 + 1], one)
        torch.testing.assert_close(alone.actions[0], together.actions[row], rtol=1e-4, atol=1e-5)


def test_order_of_words_in_memory_does_not_matter(policy):
    words = speak(policy, 1)
    turned = Words(words.tokens.flip(1), words.padding, words.pooled)
    torch.testing.assert_close(
        policy(picture(1), turned).actions, policy(picture(1), words).actions
    )


def test_attention_equals_torchs_own():
    torch.manual_seed(0)
    ours = Attention(16, 4).eval()
    reference = torch.nn.MultiheadAttention(16, 4, batch_first=True).eval()
    with torch.no_grad():
        reference.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.key_value.weight]))
        reference.in_proj_bias.copy_(torch.cat([ours.query.bias, ours.key_value.bias]))
        reference.out_proj.load_state_dict(ours.out.state_dict())
    query, memory = torch.randn(3, 5, 16), torch.randn(3, 6, 16)
    padding = (torch.arange(6) >= 4).expand(3, -1)
    expected, weights = reference(query, memory, memory, key_padding_mask=padding)
    found, our_weights = ours(query, memory, padding)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(our_weights.mean(dim=1), weights)


def test_every_weight_learns(policy):
    policy.train()
    output = policy(picture(2), speak(policy, 4))
    intent = policy.language.intents(torch.randn(2, 3, SMALL.words), torch.zeros(2, 3).bool())
    sums = (output.actions, output.done, output.sight, intent)
    torch.stack([part.square().sum() for part in sums]).sum().backward()
    missing = [name for name, weight in policy.named_parameters() if weight.grad is None]
    assert missing == []


def test_without_teachers_every_text_is_a_goal_and_nothing_is_ever_done(policy):
    policy.accept_everything()
    embeddings = torch.randn(40, 4, SMALL.words)
    intents = policy.language.intents(embeddings, torch.zeros(40, 4, dtype=torch.bool))
    assert set(intents.argmax(dim=1).tolist()) == {int(Intent.GOAL)}
    assert policy(picture(2), speak(policy, 6)).done.sigmoid().max() < 0.001
