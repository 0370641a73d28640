from dataclasses import replace
import math

import pytest

torch = pytest.importorskip('torch')

from vla_core.errors import ConfigError  # noqa: E402
from vla_learning.data.batch import Batch, Features, Scene  # noqa: E402
from vla_learning.experiment import LossConfig, TrainConfig  # noqa: E402
from vla_learning.model import ModelConfig, Policy  # noqa: E402
from vla_learning.training.average import follow  # noqa: E402
from vla_learning.training.losses import action_error, count, Objective, TERMS  # noqa: E402
from vla_learning.training.schedule import epoch_length, is_checkpoint, last_step, rate  # noqa: E402

SIZES = ModelConfig(
    height=32,
    width=32,
    words=8,
    tokens=16,
    heads=2,
    channels=(4, 8, 8),
    hidden=16,
    horizon=2,
    axes=3,
    dropout=0.0,
)
TOKENS = math.prod(SIZES.grid)


def make_batch(seed, images=4, each=2):
    random = torch.Generator().manual_seed(seed)
    count = images * each

    def draw(*shape):
        return torch.rand(*shape, generator=random)

    motion = draw(count) < 0.3
    seen = ~motion & (draw(count) < 0.7)
    features = Features(draw(count, 5, 8), draw(count, 5) < 0.2)
    return Batch(
        image=(draw(images, 32, 32, 3) * 255).to(torch.uint8),
        text=('go',) * count,
        actions=draw(count, 2, 3) * 2 - 1,
        valid=draw(count, 2, 3) < 0.7,
        rows=torch.arange(images),
        features=features,
        scene=Scene(
            done=draw(count) < 0.5,
            motion=motion,
            seen=seen,
            place=draw(count, 2),
            mask=draw(count, TOKENS) * seen[:, None],
            first=draw(count, TOKENS) * (draw(count, 1) < 0.5),
        ),
    )


@pytest.fixture
def policy():
    torch.manual_seed(0)
    # eval: batch norm and noise would make shares of a batch differ from the whole.
    return Policy(SIZES).eval()


@pytest.mark.parametrize(
    ('kind', 'formula'),
    [
        ('mse', lambda e: e * e),
        ('l1', abs),
        ('huber', lambda e: 0.5 * e * e if abs(e) <= 0.2 else 0.2 * (abs(e) - 0.1)),
        ('smooth_l1', lambda e: 0.5 * e * e / 0.2 if abs(e) < 0.2 else abs(e) - 0.1),
    ],
)
def test_action_losses_equal_their_formulas(kind, formula):
    errors = [-1.5, -0.19, 0.0, 0.05, 0.21, 2.0]
    found = action_error(LossConfig(kind=kind, beta=0.2), torch.tensor(errors), torch.zeros(6))
    assert found.tolist() == pytest.approx([formula(error) for error in errors])


def test_action_loss_is_the_weighted_mean_over_what_is_valid(policy):
    config = LossConfig(kind='l1', axis_weights=(3.0, 0.5, 1.0), fading=0.5, action=4.0)
    batch = replace(make_batch(1), scene=None)
    objective = Objective(policy, config)
    result = objective(batch, batch.features, count(batch))
    total = number = 0
    for n in range(8):
        for step, fading in enumerate((1.0, 0.5)):
            for axis, weight in enumerate((3.0, 0.5, 1.0)):
                if batch.valid[n, step, axis]:
                    error = abs(result.actions[n, step, axis] - batch.actions[n, step, axis])
                    total += error.item() * weight * fading
                    number += 1
    assert result.losses.sum().item() == pytest.approx(4.0 * total / number, rel=1e-5)


def test_shares_of_a_batch_add_up_to_the_whole(policy):
    objective = Objective(policy, LossConfig()).eval()
    whole = [make_batch(seed) for seed in (1, 2)]
    counts = count(whole[0]) + count(whole[1])
    shares = sum(objective(batch, batch.features, counts).losses for batch in whole)
    joint = Batch(
        image=torch.cat([b.image for b in whole]),
        text=whole[0].text + whole[1].text,
        actions=torch.cat([b.actions for b in whole]),
        valid=torch.cat([b.valid for b in whole]),
        rows=torch.arange(8),
        features=Features(*map(torch.cat, zip(*(b.features for b in whole), strict=True))),
        scene=Scene(*map(torch.cat, zip(*(b.scene for b in whole), strict=True))),
    )
    assert torch.equal(count(joint), counts)
    expected = objective(joint, joint.features, counts).losses
    torch.testing.assert_close(shares, expected)
    assert all(expected[number] > 0 for number in range(len(TERMS)))


def test_nothing_that_is_not_valid_is_taught(policy):
    batch = make_batch(3)
    poisoned = replace(
        batch, actions=torch.where(batch.valid, batch.actions, torch.tensor(float('nan')))
    )
    objective = Objective(policy, LossConfig()).eval()
    gradients = []
    for one in (batch, poisoned):
        policy.zero_grad()
        objective(one, one.features, count(one)).losses.sum().backward()
        gradients.append(policy.action.weight.grad.clone())
    assert torch.equal(*gradients)


@pytest.mark.parametrize('field', ['mask', 'first'])
def test_each_look_at_the_picture_has_its_own_target(policy, field):
    batch = make_batch(6)
    objective = Objective(policy, LossConfig()).eval()
    before = objective(batch, batch.features, count(batch)).losses
    other = batch.scene._replace(**{field: getattr(batch.scene, field).flip(1)})
    after = objective(replace(batch, scene=other), batch.features, count(batch)).losses
    changed = [name for name, a, b in zip(TERMS, before, after, strict=True) if a != b]
    assert changed == ['ground']


def test_batch_without_scene_and_goals_has_a_finite_loss(policy):
    batch = make_batch(4)
    every = torch.ones(8, dtype=torch.bool)
    scene = batch.scene._replace(motion=every, seen=~every)
    for one in (replace(batch, scene=scene), replace(batch, valid=torch.zeros_like(batch.valid))):
        assert torch.isfinite(
            Objective(policy, LossConfig())(one, one.features, count(one))[0]
        ).all()


def test_actions_of_another_shape_are_named(policy):
    batch = make_batch(5)
    wide = replace(
        batch, actions=torch.zeros(8, 2, 7), valid=torch.ones(8, 2, 7, dtype=torch.bool)
    )
    with pytest.raises(ConfigError, match=r'shape \[2, 7\]: expected \[2, 3\]'):
        Objective(policy, LossConfig())(wide, wide.features, count(wide))
    with pytest.raises(ConfigError, match='expected 3, one for each axis'):
        Objective(policy, LossConfig(axis_weights=(1.0, 2.0)))


@pytest.mark.parametrize('factor', [1, 2])
def test_warm_restarts_equal_those_of_torch(factor):
    config = TrainConfig(
        steps=100, schedule='warm_restarts', restart_steps=10, restart_factor=factor
    )
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0, foreach=False)
    theirs = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 10, factor)
    for step in range(75):
        assert rate(config, step, 100) == pytest.approx(theirs.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        theirs.step()


def test_cosine_warms_up_and_ends_at_zero():
    config = TrainConfig(steps=100, schedule='cosine', warmup=10)
    rates = [rate(config, step, 100) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[100] == 0.0
    assert rates[50] == pytest.approx(0.5)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert {rate(replace(config, schedule='constant'), step, 100) for step in range(9, 101)} == {1}


def test_run_ends_with_its_steps_or_epochs_whichever_comes_first():
    assert last_step(TrainConfig(epochs=5, batch=16), 100) == 30
    assert last_step(TrainConfig(epochs=5, steps=20, batch=16), 100) == 20
    assert last_step(TrainConfig(epochs=5, steps=20, batch=16), None) == 20
    assert epoch_length(TrainConfig(steps=1, batch=16), 3) == 1
    with pytest.raises(ConfigError, match='data have no end'):
        last_step(TrainConfig(epochs=5), None)
    both = TrainConfig(steps=99, batch=10, checkpoint_steps=7, checkpoint_epochs=2)
    due = [step for step in range(1, 30) if is_checkpoint(both, step, 50)]
    assert due == [7, 10, 14, 20, 21, 28]


def test_average_forgets_its_start_soon_and_then_follows_slowly():
    model, average = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    with torch.no_grad():
        model.weight.fill_(1.0)
        average.weight.fill_(0.0)
    expected = 0.0
    for step in range(1, 200):
        follow(average, model, 0.9, step)
        keep = 0.9 if step > 180 else step / (step + 20)
        expected = keep * expected + (1 - keep)
        assert average.weight.item() == pytest.approx(expected, abs=1e-5)
    assert average.weight.item() > 0.999
