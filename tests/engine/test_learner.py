"""The loop: schedules, the constraint's chain rule, learning, and resuming to the bit."""

import copy

import pytest
import torch
from torch import nn

from bilevel_hpo import BilevelLearner, Budget, Direct, LossWeights, NonFiniteWarning, OneStep, TransferRatios, Unrolled
from tests.engine.problems import Shuffled, batch, budget_learner, named, net, plain, task_losses, weighted

NAMES = ["a", "b", "c"]
TRAIN = [batch(i) for i in range(5)]
VAL = [batch(i) for i in range(20, 22)]


@pytest.mark.parametrize(
    ("outer_every", "estimator", "per_epoch"),
    [
        ("epoch", OneStep(), [2, 2, 2]),
        ("epoch", Unrolled(3), [2, 2, 2]),
        (None, OneStep(), [0, 0, 0]),
        (1, OneStep(), [5, 5, 5]),
        (2, OneStep(), [3, 2, 3]),
        (5, OneStep(), [1, 1, 1]),
        (8, OneStep(), [1, 1, 0]),
        (2, Unrolled(2), [3, 2, 3]),
    ],
)
def test_the_schedule_takes_the_right_number_of_steps(outer_every, estimator, per_epoch):
    seen = []
    learner = budget_learner(net(), NAMES, hypergradient=estimator)
    same = learner.fit(TRAIN, VAL, epochs=3, outer_every=outer_every, callbacks=[lambda it: seen.append(it.epoch)])
    assert same is learner
    assert seen == [1, 2, 3]
    assert (learner.epoch, learner.inner_steps, learner.outer_steps, learner.skipped) == (3, 15, sum(per_epoch), 0)
    assert learner.epochs["epoch"].tolist() == [1, 2, 3]
    assert learner.epochs["outer_steps"].tolist() == per_epoch
    assert learner.trajectory.shape == (4, 3)
    assert torch.equal(learner.trajectory[-1], learner.weights().detach())
    assert torch.equal(learner.trajectory[0], learner.trajectory[-1]) == (sum(per_epoch) == 0)
    assert learner.epochs["seconds"].is_monotonic_increasing


def test_an_outer_step_looks_at_the_batches_about_to_be_trained_on():
    learner, used = budget_learner(net(), NAMES, hypergradient=Unrolled(2)), []
    original = learner.step
    learner.step = lambda train, val: (used.append((list(train), val)), original(train, val))[1]
    learner.fit(TRAIN, VAL, epochs=2, outer_every=2)
    expected = [([0, 1], 0), ([2, 3], 1), ([4, 4], 0), ([1, 2], 1), ([3, 4], 0)]
    for (train, val), (train_expected, val_expected) in zip(used, expected, strict=True):
        assert [id(data) for data in train] == [id(TRAIN[i]) for i in train_expected]
        assert val is VAL[val_expected]


def test_validation_batches_are_repeated_when_they_run_out():
    learner, used = budget_learner(net(), NAMES), []
    original = learner.step
    learner.step = lambda train, val: (used.append(val), original(train, val))[1]
    learner.fit(TRAIN, VAL, epochs=1, outer_every=1)
    assert [id(val) for val in used] == [id(VAL[i]) for i in (0, 1, 0, 1, 0)]


def test_with_lambda_fixed_fit_is_ordinary_training():
    model = net()
    twin = copy.deepcopy(model)
    learner = budget_learner(model, NAMES).fit(TRAIN, VAL, epochs=2, outer_every=None)
    optimizer = torch.optim.Adam(twin.parameters(), lr=0.02)
    losses = []
    for data in TRAIN * 2:
        optimizer.zero_grad()
        loss = weighted(twin, torch.full((3,), 1 / 3, dtype=torch.float64), data)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    for ours, plain_training in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, plain_training, rtol=1e-12, atol=1e-14)
    assert learner.epochs["train_loss"].tolist() == pytest.approx([sum(losses[:5]) / 5, sum(losses[5:]) / 5])


@pytest.mark.parametrize("kind", ["budget", "ratios", "symmetric"])
def test_the_chain_rule_of_the_constraint_is_applied_once(kind):
    weights = {
        "budget": lambda: LossWeights(NAMES, init=[0.5, 0.3, 0.2], constraint=Budget()),
        "ratios": lambda: TransferRatios(NAMES, init=0.4),
        "symmetric": lambda: TransferRatios(NAMES, init=0.4, symmetric=True),
    }[kind]().double()
    model = net()
    learner = BilevelLearner(
        model,
        torch.optim.SGD(model.parameters(), lr=0.05),
        weights,
        train_loss=weighted,
        val_loss=plain,
        outer_optimizer=torch.optim.SGD(weights.parameters(), lr=0.1),
    )
    raw = weights.raw.detach().clone()
    g = learner.hypergradient(TRAIN[0], VAL[0])
    (expected,) = torch.autograd.grad((weights() * g).sum(), weights.raw)
    returned = learner.outer_step(TRAIN[0], VAL[0])
    assert torch.equal(returned, g)
    assert torch.equal(weights.raw.grad, expected)
    torch.testing.assert_close(weights.raw.detach(), (raw - 0.1 * expected), rtol=1e-14, atol=0)
    assert g.abs().min() > 0
    learner.outer_step(TRAIN[0], VAL[0])  # gradients do not pile up
    assert not torch.allclose(weights.raw.grad, 2 * expected, rtol=0.3, atol=0)


def test_direct_lets_every_weight_fall_to_its_bound():
    weights, model = TransferRatios(NAMES, init=0.1).double(), net()
    learner = BilevelLearner(
        model,
        torch.optim.Adam(model.parameters(), lr=0.01),
        weights,
        train_loss=weighted,
        val_loss=weighted,
        hypergradient=Direct(),
    )
    learner.fit(TRAIN, VAL, epochs=8, outer_every=5)
    assert weights().tolist() == torch.eye(3).tolist()


def test_a_noise_task_loses_its_share_of_the_budget():
    """Targets 0 and 1 follow the same rule; 2 is noise. Only 0 is asked for: 1 helps it, 2 does not."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(60, 4, generator=generator, dtype=torch.float64)
    truth = x @ torch.randn(4, generator=generator, dtype=torch.float64)
    noise = 3 * torch.randn(60, generator=generator, dtype=torch.float64)
    y = torch.stack([truth, truth, noise], 1)
    train, val = [(x[i : i + 10], y[i : i + 10]) for i in range(0, 30, 10)], [(x[30:], y[30:])]
    torch.manual_seed(0)
    model = nn.Linear(4, 1).double()  # one output for all tasks
    learner = budget_learner(
        model,
        ["target", "same", "noise"],
        train_loss=lambda model, weights, data: weights @ task_losses(model, data),
        val_loss=lambda model, weights, data: task_losses(model, data)[0],
    )
    learner.fit(train, val, epochs=60, outer_every=5)
    target, same, noise_share = learner.weights().tolist()
    assert target + same + noise_share == pytest.approx(1.0)
    assert noise_share < 0.15
    assert min(target, same) > 0.35


def resumable(seed=0):
    model = net(nn.Dropout(0.3), nn.BatchNorm1d(5), seed=seed)
    inner = torch.optim.Adam(model.parameters(), lr=0.02)
    return budget_learner(
        model,
        NAMES,
        inner_optimizer=inner,
        val_loss=named,
        inner_scheduler=torch.optim.lr_scheduler.StepLR(inner, step_size=3, gamma=0.9),
    )


@pytest.mark.parametrize("outer_every", ["epoch", 2])
def test_a_resumed_run_equals_an_uninterrupted_one_to_the_bit(tmp_path, outer_every):
    train, val = Shuffled(TRAIN), Shuffled(VAL)
    torch.manual_seed(7)
    whole = resumable().fit(train, val, epochs=5, outer_every=outer_every)

    torch.manual_seed(7)
    first = resumable().fit(train, val, epochs=2, outer_every=outer_every)
    torch.save(first.state_dict(), tmp_path / "checkpoint.pt")
    torch.manual_seed(12345)
    resumed = resumable(seed=9)
    resumed.load_state_dict(torch.load(tmp_path / "checkpoint.pt", weights_only=True))
    resumed.fit(train, val, epochs=5, outer_every=outer_every)

    assert_equal_learners(resumed, whole)
    assert torch.equal(torch.get_rng_state(), whole_rng(train, val, outer_every))
    assert resumed.inner_optimizer.param_groups[0]["lr"] == whole.inner_optimizer.param_groups[0]["lr"] < 0.02


def whole_rng(train, val, outer_every):
    torch.manual_seed(7)
    resumable().fit(train, val, epochs=5, outer_every=outer_every)
    return torch.get_rng_state()


def assert_equal_learners(a, b):
    for (key, x), y in zip(a.model.state_dict().items(), b.model.state_dict().values(), strict=True):
        assert torch.equal(x, y), key
    assert torch.equal(a.weights(), b.weights())
    assert torch.equal(a.trajectory, b.trajectory)
    assert a.epochs.drop(columns="seconds").equals(b.epochs.drop(columns="seconds"))
    assert (a.epoch, a.inner_steps, a.outer_steps) == (b.epoch, b.inner_steps, b.outer_steps)


def test_fit_goes_on_where_it_stood():
    torch.manual_seed(0)
    whole = resumable().fit(TRAIN, VAL, epochs=4)
    torch.manual_seed(0)
    parts = resumable().fit(TRAIN, VAL, epochs=1).fit(TRAIN, VAL, epochs=4)
    assert_equal_learners(parts, whole)
    assert parts.fit(TRAIN, VAL, epochs=4).epoch == 4


def test_a_state_without_scheduler_is_refused_by_a_learner_with_one():
    state = budget_learner(net(nn.Dropout(0.3), nn.BatchNorm1d(5)), NAMES).state_dict()
    with pytest.raises(ValueError, match="inner_scheduler"):
        resumable().load_state_dict(state)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_hypergradient_that_is_not_finite_is_skipped_and_counted(bad):
    learner = budget_learner(net(), NAMES, val_loss=lambda m, w, d: plain(m, w, d[:2]) * d[2])
    val = [(*VAL[0], 1.0), (*VAL[1], bad)]
    with pytest.warns(NonFiniteWarning, match="epoch 1, train batch 2, validation batch 2") as warned:
        learner.fit(TRAIN, val, epochs=2, outer_every="epoch")
    assert len(warned) == 2
    assert (learner.outer_steps, learner.skipped) == (2, 2)
    assert learner.epochs["skipped"].tolist() == [1, 1]
    assert learner.weights().isfinite().all()
    before, state = learner.weights().detach().clone(), copy.deepcopy(learner.outer_optimizer.state_dict())
    with pytest.warns(NonFiniteWarning):
        assert not learner.outer_step(TRAIN[0], val[1]).isfinite().all()
    assert torch.equal(learner.weights(), before)
    assert str(learner.outer_optimizer.state_dict()) == str(state)


def test_validate_is_the_mean_in_eval_mode():
    learner = budget_learner(net(nn.Dropout(0.5)), NAMES)
    value = learner.validate(VAL)
    assert learner.model.training
    learner.model.eval()
    assert value == pytest.approx(sum(plain(learner.model, None, data).item() for data in VAL) / 2, rel=1e-14)


def test_rehearsal_fails_before_any_training():
    learner = budget_learner(net(), NAMES, train_loss=plain)
    before = [p.detach().clone() for p in learner.model.parameters()]
    with pytest.raises(TypeError, match="depends on `weights`"):
        learner.fit(TRAIN, VAL, epochs=1)
    assert learner.inner_steps == 0
    assert all(torch.equal(a, b) for a, b in zip(before, learner.model.parameters(), strict=True))


@pytest.mark.parametrize(("train", "val", "name"), [(iter(TRAIN), VAL, "train"), (TRAIN, (b for b in VAL), "val")])
def test_generators_are_refused(train, val, name):
    with pytest.raises(TypeError, match=f"{name}_batches is an iterator"):
        budget_learner(net(), NAMES).fit(train, val, epochs=1)


@pytest.mark.parametrize("outer_every", [0, -1, "batch", 1.5])
def test_a_bad_schedule_is_named(outer_every):
    with pytest.raises(ValueError, match="outer_every must be"):
        budget_learner(net(), NAMES).fit(TRAIN, VAL, epochs=1, outer_every=outer_every)


@pytest.mark.parametrize(("train", "val"), [([], VAL), (TRAIN, [])])
@pytest.mark.parametrize("outer_every", ["epoch", 1])
def test_no_batches_are_named(train, val, outer_every):
    with pytest.raises(ValueError, match="batch"):
        budget_learner(net(), NAMES).fit(train, val, epochs=1, outer_every=outer_every)


def test_an_outer_optimizer_of_something_else_is_refused():
    model, weights = net(), LossWeights(NAMES).double()
    for held in (model.parameters(), [*weights.parameters(), *model.parameters()]):
        with pytest.raises(ValueError, match="outer_optimizer must hold the parameters of `weights`"):
            BilevelLearner(
                model,
                torch.optim.Adam(model.parameters()),
                weights,
                train_loss=weighted,
                val_loss=plain,
                outer_optimizer=torch.optim.Adam(held),
            )
