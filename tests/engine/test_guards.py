"""What keeps a training on the road: skipped steps, clipping, the active set; and what is kept of it."""

import re

import numpy as np
import pytest
import torch
from torch import nn

from bilevel_hpo import (
    ActiveSet,
    BilevelLearner,
    Box,
    Budget,
    ConjugateGradient,
    Direct,
    FiniteDifference,
    LossWeights,
    MicroBatches,
    NonFiniteError,
    NonFiniteWarning,
    Nystrom,
    OneStep,
    TransferRatios,
    Unrolled,
    UnsupportedError,
)
from bilevel_hpo.learner import _history
from bilevel_hpo.learner._history import VALUES, History
from tests.engine.problems import batch, budget_learner, named, net, plain, task_losses, weighted

NAMES = ["a", "b", "c"]
TRAIN = [batch(i) for i in range(5)]
VAL = [batch(i) for i in range(20, 22)]


def poisoned(model, weights, data):
    """NaN on validation batches marked so."""
    return plain(model, weights, data[:2]) * (data[2] if len(data) > 2 else 1.0)


def test_training_stops_after_too_many_in_a_row_and_names_the_batches():
    learner = budget_learner(net(), NAMES, val_loss=poisoned, max_skipped=3)
    val = [VAL[0], (*VAL[1], float("nan"))]
    learner.fit(TRAIN, val[:1], epochs=1, outer_every=1)
    before = learner.weights().detach().clone()
    place = r"outer step 8 \(epoch 2, train batch 3, validation batch 1\)"
    message = rf"{place} is not finite in 3 of 3.*L_val = nan.*makes 3 in a row"
    with pytest.warns(NonFiniteWarning) as warned, pytest.raises(NonFiniteError, match=message):
        learner.fit(TRAIN, val[1:], epochs=2, outer_every=1)
    assert len(warned) == 2
    assert torch.equal(learner.weights(), before)
    assert learner.history["skipped"].tolist() == [False] * 5 + [True] * 3


def test_a_good_hypergradient_between_bad_ones_resets_the_count():
    learner = budget_learner(net(), NAMES, val_loss=poisoned, max_skipped=2)
    with pytest.warns(NonFiniteWarning):
        learner.fit(TRAIN, [(*VAL[0], float("inf")), VAL[1]], epochs=2, outer_every=1)
    assert (learner.outer_steps, learner.skipped) == (5, 5)


def test_clipping_shortens_a_long_hypergradient_and_leaves_a_short_one():
    for clip in (1e-3, 1e3):
        weights, model = LossWeights(NAMES, init=0.5, constraint=Box(0, 1)).double(), net()
        learner = BilevelLearner(
            model,
            torch.optim.SGD(model.parameters(), lr=0.1),
            weights,
            train_loss=weighted,
            val_loss=plain,
            outer_optimizer=torch.optim.SGD(weights.parameters(), lr=1.0),
            clip=clip,
        )
        g = learner.outer_step(TRAIN[0], VAL[0])
        moved = 0.5 - weights().detach()
        torch.testing.assert_close(moved, g * min(1.0, clip / g.norm().item()), rtol=1e-12, atol=1e-15)
        assert learner.history["g_norm"].iloc[0] == pytest.approx(g.norm().item())


@pytest.mark.parametrize(("option", "value"), [("clip", 0.0), ("max_skipped", 0)])
def test_a_bad_guard_is_named(option, value):
    with pytest.raises(ValueError, match=option):
        budget_learner(net(), NAMES, **{option: value})


def ratios_learner(active, constraint=None, names=NAMES):
    weights, model = TransferRatios(names, init=0.5, constraint=constraint).double(), net()
    return BilevelLearner(
        model,
        torch.optim.Adam(model.parameters(), lr=0.02),
        weights,
        train_loss=weighted,
        val_loss=named,
        outer_optimizer=torch.optim.Adam(weights.parameters(), lr=0.01),
        active=active,
    )


def test_small_lambda_move_in_their_turn_only_and_none_is_left_out():
    learner = ratios_learner(ActiveSet(threshold=0.45, rotation=4))
    with torch.no_grad():
        learner.weights.raw[0, 1:] = 0.2
        learner.weights.raw[2, 0] = 0.1
    moved = torch.zeros(3, 3, dtype=torch.int64)
    for turn in range(8):
        before, mask = learner.weights.raw.detach().clone(), learner.active
        small = before < 0.45
        assert torch.equal(mask.flatten(), (~small | (torch.arange(9).view(3, 3) % 4 == turn % 4)).flatten())
        learner.step(TRAIN[0], VAL[0])
        changed = learner.weights.raw.detach() != before
        assert not (changed & ~mask).any()
        moved += changed
    off = ~torch.eye(3, dtype=torch.bool)
    assert moved[0, 1:].tolist() == [2, 2]
    assert moved[2, 0] == 2
    assert (moved[off] >= 2).all()


def test_without_threshold_all_move():
    assert ratios_learner(None).active.all()
    assert ratios_learner(ActiveSet(threshold=0.0)).active.all()
    assert ratios_learner(ActiveSet(threshold=9.0, rotation=1)).active.all()


@pytest.mark.parametrize(("arguments", "message"), [((-1.0,), "threshold >= 0"), ((0.1, 0), "rotation >= 1")])
def test_a_bad_active_set_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        ActiveSet(*arguments)


def test_an_active_set_needs_parameters_like_lambda():
    class LowRank(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Parameter(torch.ones(3, 1, dtype=torch.float64))

        def forward(self):
            return self.a @ self.a.T

        def project_(self):
            pass

    model = net()
    with pytest.raises(ValueError, match="shapes of λ"):
        BilevelLearner(
            model,
            torch.optim.SGD(model.parameters(), lr=0.1),
            LowRank(),
            train_loss=weighted,
            val_loss=plain,
            active=ActiveSet(0.1),
        )


def test_history_tells_every_outer_step():
    learner = budget_learner(net(), NAMES, val_loss=named)
    learner.fit(TRAIN, VAL, epochs=2, outer_every=2, warm_up=3)
    table = learner.history
    assert table["outer_step"].tolist() == [1, 2, 3, 4]
    assert table["inner_step"].tolist() == [4, 6, 8, 10]
    assert table["epoch"].tolist() == [1, 2, 2, 2]
    assert table["seconds"].is_monotonic_increasing
    assert (table["outer_seconds"] > 0).all()
    lambda_, g = (table[[f"{kind}:{name}" for name in NAMES]].to_numpy() for kind in ("lambda", "g"))
    np.testing.assert_allclose(lambda_.sum(1), 1.0)
    np.testing.assert_allclose(lambda_[0], 1 / 3)
    np.testing.assert_allclose(np.linalg.norm(g, axis=1), table["g_norm"])
    assert not np.allclose(lambda_[0], lambda_[-1], atol=1e-3)

    again = budget_learner(net(), NAMES, val_loss=named)
    for _ in range(3):
        again.inner_step(TRAIN[_])
    expected = again.hypergradient(TRAIN[3], VAL[0])
    np.testing.assert_allclose(g[0], expected, rtol=1e-9)
    with torch.no_grad():
        assert table["train_loss"][0] == pytest.approx(
            weighted(again.model, again.weights(), TRAIN[3]).item(), rel=1e-12
        )
    again.inner_step(TRAIN[3])
    assert table["val_loss"][0] == pytest.approx(named(again.model, again.weights().detach(), VAL[0]).item(), rel=1e-12)


def test_a_long_history_is_thinned_evenly(monkeypatch, tmp_path):
    monkeypatch.setattr(_history, "ROWS", 20)
    whole, parts = (budget_learner(net(), NAMES) for _ in range(2))
    whole.fit(TRAIN, VAL, epochs=20, outer_every=1)
    steps = whole.history["outer_step"].tolist()
    assert steps == list(range(1, 101, 8))
    parts.fit(TRAIN, VAL, epochs=9, outer_every=1)
    torch.save(parts.state_dict(), tmp_path / "c.pt")
    resumed = budget_learner(net(), NAMES)
    resumed.load_state_dict(torch.load(tmp_path / "c.pt", weights_only=True))
    resumed.fit(TRAIN, VAL, epochs=20, outer_every=1)
    timings = ["seconds", "outer_seconds"]
    assert resumed.history.drop(columns=timings).equals(whole.history.drop(columns=timings))


def test_the_memory_of_the_history_is_bounded_for_many_lambda():
    kept = History([str(i) for i in range(100_000)])
    for step in range(1, 200):
        kept.add({"outer_step": step}, torch.zeros(100_000), torch.zeros(100_000))
    assert 2 * 100_000 * len(kept.to_frame(["outer_step"])) <= VALUES


@pytest.mark.parametrize(
    ("options", "message"), [({"warm_up": -1}, "warm_up.*got -1"), ({"accumulate": 0}, "accumulate.*got 0")]
)
def test_a_bad_schedule_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        budget_learner(net(), NAMES).fit(TRAIN, VAL, epochs=1, **options)


@pytest.mark.parametrize("outer_every", [1, "epoch"])
def test_no_outer_step_before_the_warm_up_is_over(outer_every):
    learner = budget_learner(net(), NAMES).fit(TRAIN, VAL, epochs=2, outer_every=outer_every, warm_up=7)
    assert learner.outer_steps == (3 if outer_every == 1 else 2)
    assert learner.epochs["outer_steps"].tolist()[0] == 0


def test_accumulation_groups_the_batches():
    learner = budget_learner(net(), NAMES).fit(TRAIN, VAL, epochs=2, outer_every=2, accumulate=2)
    assert (learner.inner_steps, learner.outer_steps) == (6, 3)  # 2 + 2 + 1 batches an epoch


@pytest.mark.parametrize(
    ("estimator", "authors"),
    [
        (OneStep(), ["Liu"]),
        (FiniteDifference(), ["Liu"]),
        (Unrolled(2), ["Maclaurin", "Franceschi", "Grefenstette"]),
        (Unrolled(2, truncate=1), ["Maclaurin", "Franceschi", "Grefenstette", "Shaban"]),
        (ConjugateGradient(), ["Pedregosa", "Rajeswaran"]),
        (Nystrom(), ["Hataya", "Frangella"]),
        (Direct(), []),
    ],
    ids=repr,
)
def test_citation_names_the_methods_in_use(estimator, authors):
    text = budget_learner(net(), NAMES, hypergradient=estimator, val_loss=named).citation()
    found = re.findall(r"author\s*= \{(\w+),", text)
    assert found == authors
    entries = re.findall(r"^@\w+\{(\S+),$", text, re.MULTILINE)
    assert len(entries) == len(set(entries)) == len(authors) + (2 if isinstance(estimator, Direct) else 1)
    assert text.count("{") == text.count("}")


def detached(model, weights, data):
    return weighted(model, weights.detach(), data)


def as_numbers(model, weights, data):
    return sum(weights[i].item() * loss for i, loss in enumerate(task_losses(model, data)))


def as_floats(model, weights, data):
    return sum(float(weights[i]) * loss for i, loss in enumerate(task_losses(model, data)))


def as_data(model, weights, data):
    return weighted(model, weights.data, data)


def in_a_list(model, weights, data):
    return sum(w * loss for w, loss in zip(weights.tolist(), task_losses(model, data), strict=True))


def without_grad(model, weights, data):
    with torch.no_grad():
        return weighted(model, weights, data)


def normalised_without_grad(model, weights, data):
    with torch.no_grad():
        share = weights / weights.sum()
    return weighted(model, share, data)


def added(model, weights, data):
    return plain(model, weights, data) + weights.square().sum()


def without_theta(model, weights, data):
    return weighted(lambda x: x[:, :3], weights, data)


ESTIMATORS = pytest.mark.parametrize(
    "estimator", [OneStep(), FiniteDifference(), Unrolled(1), ConjugateGradient()], ids=repr
)


@ESTIMATORS
@pytest.mark.parametrize(
    ("train_loss", "message"),
    [
        (plain, "neither train_loss nor val_loss depends on `weights`"),
        (detached, r"train_loss takes `weights` out of the graph by \.detach\(\)"),
        (as_numbers, r"train_loss takes `weights` out of the graph by \.item\(\)"),
        (as_floats, r"train_loss takes `weights` out of the graph by (float\(\.\.\.\)|\.item\(\))"),
        (as_data, r"train_loss takes `weights` out of the graph by \.data"),
        (in_a_list, r"train_loss takes `weights` out of the graph by \.tolist\(\)"),
        (normalised_without_grad, r"train_loss runs under torch\.no_grad\(\)"),
        (added, "`weights` cannot change θ.*only terms without θ"),
    ],
    ids=lambda x: x.__name__ if callable(x) else "",
)
@pytest.mark.parametrize("val_loss", [plain, named])
def test_how_lambda_got_lost_is_said(train_loss, val_loss, message, estimator):
    learner = budget_learner(net(), NAMES, train_loss=train_loss, val_loss=val_loss, hypergradient=estimator)
    if val_loss is named and train_loss in (plain, added):  # λ acts through val_loss alone, as somebody may want it
        assert learner.hypergradient(TRAIN[0], VAL[0]).any()
        return
    with pytest.raises(UnsupportedError, match=message):
        learner.hypergradient(TRAIN[0], VAL[0])


@ESTIMATORS
@pytest.mark.parametrize("loss", [without_grad, without_theta], ids=lambda x: x.__name__)
def test_a_train_loss_without_a_gradient_is_named(loss, estimator):
    learner = budget_learner(net(), NAMES, train_loss=loss, hypergradient=estimator)
    message = "train_loss runs under torch.no_grad" if loss is without_grad else "train_loss depends on no parameter"
    with pytest.raises(UnsupportedError, match=message):
        learner.hypergradient(TRAIN[0], VAL[0])


@ESTIMATORS
def test_a_val_loss_without_a_gradient_is_named(estimator):
    learner = budget_learner(net(), NAMES, val_loss=without_grad, hypergradient=estimator)
    with pytest.raises(UnsupportedError, match=r"val_loss runs under torch\.no_grad"):
        learner.hypergradient(TRAIN[0], VAL[0])


@ESTIMATORS
@pytest.mark.parametrize("which", ["train_loss", "val_loss"])
def test_a_loss_that_calls_the_weights_module_itself_is_refused(which, estimator):
    weights, model = LossWeights(NAMES, constraint=Budget()).double(), net()

    def loss(model, argument, data):
        return weighted(model, weights(), data) + 0.1 * weighted(model, argument, data)

    losses = {"train_loss": weighted, "val_loss": plain, which: loss}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    learner = BilevelLearner(model, optimizer, weights, hypergradient=estimator, **losses)
    with pytest.raises(UnsupportedError, match=f"{which} calls the `weights` module itself"):
        learner.hypergradient(TRAIN[0], VAL[0])


@ESTIMATORS
def test_an_optimizer_without_trainable_parameters_is_named(estimator):
    model = net()
    learner = budget_learner(model, NAMES, hypergradient=estimator)
    model.requires_grad_(False)
    with pytest.raises(UnsupportedError, match="inner optimizer holds no parameter with requires_grad=True"):
        learner.hypergradient(TRAIN[0], VAL[0])


@pytest.mark.parametrize("estimator", [OneStep(), FiniteDifference(), Unrolled(1)], ids=repr)
def test_losses_of_different_parameters_are_named(estimator):
    model = nn.ModuleList([net(), net(seed=1)])
    learner = budget_learner(
        model,
        NAMES,
        train_loss=lambda m, w, d: weighted(m[0], w, d),
        val_loss=lambda m, w, d: plain(m[1], w, d),
        hypergradient=estimator,
    )
    with pytest.raises(UnsupportedError, match=r"val_loss depends on no parameter .* on which train_loss depends"):
        learner.hypergradient(TRAIN[0], VAL[0])


def by_hand(learner, batches, zeroed):
    """One step of the optimizer on several batches, as people write it."""
    for data in batches:
        (learner.train_loss(learner.model, learner.weights().detach(), data) / len(batches)).backward()
    learner.inner_optimizer.step()
    if zeroed:
        learner.inner_optimizer.zero_grad()


@pytest.mark.parametrize("zeroed", [True, False])
@pytest.mark.parametrize("call", ["hypergradient", "outer_step"])
def test_a_hypergradient_of_one_batch_is_refused_where_several_make_a_step(call, zeroed):
    learner = budget_learner(net(), NAMES)
    by_hand(learner, TRAIN[:1], zeroed)
    getattr(learner, call)(TRAIN[1], VAL[0])
    by_hand(learner, TRAIN[:3], zeroed)
    before = learner.weights().detach().clone()
    with pytest.raises(UnsupportedError, match=r"3 backward passes.*with 1,.*MicroBatches"):
        getattr(learner, call)(TRAIN[0], VAL[0])
    assert torch.equal(learner.weights(), before)
    getattr(learner, call)(MicroBatches(TRAIN[:3]), VAL[0])
    by_hand(learner, TRAIN[:1], zeroed)
    getattr(learner, call)(TRAIN[1], VAL[0])


def test_a_hypergradient_in_the_midst_of_an_accumulation_is_refused():
    learner = budget_learner(net(), NAMES)
    for number, data in enumerate(TRAIN[:2]):
        weighted(learner.model, learner.weights().detach(), data).backward()
        if number == 0:
            learner.hypergradient(data, VAL[0])  # of the step on this batch, whose gradient is there already
    with pytest.raises(UnsupportedError, match="2 backward passes"):
        learner.hypergradient(TRAIN[1], VAL[0])
    learner.inner_optimizer.zero_grad()  # it was something else
    learner.hypergradient(TRAIN[1], VAL[0])


def test_the_accumulation_of_the_learner_itself_is_nobody_elses():
    learner = budget_learner(net(), NAMES).fit(TRAIN, VAL, epochs=1, outer_every="epoch", accumulate=2)
    learner.inner_step(MicroBatches(TRAIN[:3]))
    learner.outer_step(TRAIN[0], VAL[0])
    learner.step(MicroBatches(TRAIN[:3]), VAL[0])
    learner.outer_step(TRAIN[0], VAL[0])
