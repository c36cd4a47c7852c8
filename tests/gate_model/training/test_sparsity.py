"""The paths that a training step computes, and those it leaves out."""

import pytest
import torch

from bilevel_hpo import BilevelLearner, Budget, FiniteDifference, OneStep, TransferRatios
from gate_model.model import mapping
from gate_model.model.losses import DirectPathLoss, TrainLoss
from gate_model.training.sparsity import ActivePairs
from tests.gate_model import gate_cases

T = 5


def random_weights(seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(T, T, generator=generator, dtype=torch.float64).fill_diagonal_(1.0)


def inner(active: ActivePairs, weights: torch.Tensor) -> torch.Tensor:
    return active.inner(weights.flatten(), 0).view(T, T)


def literal(weights: torch.Tensor, threshold: float, top_k: int | None) -> torch.Tensor:
    mask = torch.zeros(T, T, dtype=torch.bool)
    for t in range(T):
        lambda_ = {
            s: (T - 1) * weights[t, s] / weights[t, t] if weights[t, t] != 1 else weights[t, s] for s in range(T)
        }
        best = sorted((s for s in range(T) if s != t), key=lambda s: -lambda_[s])
        for s in best[:top_k]:
            mask[t, s] = lambda_[s] >= threshold
    return mask


@pytest.mark.parametrize("diagonal", [1.0, 0.3])
@pytest.mark.parametrize(("threshold", "top_k"), [(0.0, None), (0.4, None), (0.0, 2), (0.6, 2), (0.0, 99), (50.0, 1)])
def test_inner_pairs_equal_the_double_loop(diagonal, threshold, top_k):
    weights = random_weights().fill_diagonal_(diagonal)
    assert torch.equal(inner(ActivePairs(threshold, top_k=top_k), weights), literal(weights, threshold, top_k))


def test_a_weight_of_exactly_0_is_left_out_of_inner_steps_only():
    weights, active = random_weights(), ActivePairs(0.0, rotation=100)
    weights[1, 3] = 0.0
    assert not inner(active, weights)[1, 3]
    assert all(active.mask(weights.flatten(), turn).view(T, T)[1, 3] for turn in range(3)), "it can come back"


def test_every_pair_has_its_turn_and_the_active_ones_have_every_turn():
    weights, active = random_weights(), ActivePairs(0.0, rotation=4, top_k=1)
    masks = torch.stack([active.mask(weights.flatten(), turn).view(T, T) for turn in range(8)])
    turns = masks.sum(0)
    assert (turns[inner(active, weights)] == 8).all()
    assert (turns.diagonal() == 8).all()
    assert (turns[~inner(active, weights) & ~torch.eye(T, dtype=torch.bool)] == 2).all()


@pytest.mark.parametrize("differentiable", [False, True])
def test_pairs_left_out_count_as_zero_in_value_and_every_derivative(differentiable):
    model, batch = gate_cases.gate(T), gate_cases.batch(T, unlabelled=(3,))
    weights, loss = random_weights(), TrainLoss(beta=0.5)
    pairs = inner(ActivePairs(0.0, top_k=2), weights)
    reference = torch.where(pairs | torch.eye(T, dtype=torch.bool), weights, 0)
    results = []
    for start, chosen in ((weights, pairs), (reference, None)):
        w = start.clone().requires_grad_(differentiable)
        torch.manual_seed(1)
        value = loss(model, w, batch, chosen)
        wanted = [*model.parameters(), *([w] if differentiable else [])]
        results.append([value, *torch.autograd.grad(value, wanted)])
    *got, of_weights = results[0] if differentiable else (*results[0], None)
    want = results[1][: len(got)]
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)
    if of_weights is not None:
        kept = pairs | torch.eye(T, dtype=torch.bool)
        assert not of_weights[~kept].any()
        torch.testing.assert_close(of_weights[kept], results[1][-1][kept], rtol=1e-12, atol=1e-13)


def test_only_active_pairs_are_computed(monkeypatch):
    model, batch, weights = gate_cases.gate(T), gate_cases.batch(T), random_weights()
    asked = torch.zeros(T, T, dtype=torch.bool)
    real = mapping._block_gradient

    def noted(block, *rest, **kind):
        asked[block.target, block.sources] = True
        return real(block, *rest, **kind)

    monkeypatch.setattr(mapping, "_block_gradient", noted)
    pairs = inner(ActivePairs(0.0, top_k=2), weights)
    TrainLoss()(model, weights, batch, pairs).backward()
    assert torch.equal(asked, pairs)


@pytest.mark.parametrize("estimator", [OneStep(), FiniteDifference()], ids=repr)
def test_the_hypergradient_of_the_pairs_in_an_outer_step_is_exact_and_that_of_others_is_zero(estimator):
    """Against central differences of a real AdamW step of the loss with those pairs only."""
    active = ActivePairs(0.0, rotation=3, top_k=1)
    loss, train, val = TrainLoss("sum", geometry="mean", delta=0.0), gate_cases.batch(T), gate_cases.batch(T, seed=5)
    ratios = TransferRatios([str(t) for t in range(T)], constraint=Budget(1.0, direct=0.5)).double()
    model = gate_cases.gate(T)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    learner = BilevelLearner(
        model,
        optimizer,
        ratios,
        train_loss=lambda model, weights, batch: loss(model, weights, batch, learner.active),
        lambda_terms=lambda model, weights, batch: loss.lambda_terms(model, weights, batch, learner.active),
        val_loss=DirectPathLoss(),
        hypergradient=estimator,
        active=active,
    )
    for _ in range(3):
        learner.inner_step(train)
    mask, g = learner.active, learner.hypergradient(train, val)
    assert not g[~mask].any()
    lambda_ = ratios().detach()
    state = {k: v.clone() for k, v in model.state_dict().items()}
    moments = optimizer.state_dict()

    def after(weights):
        model.load_state_dict(state)
        optimizer.load_state_dict(
            {**moments, "state": {i: {k: v.clone() for k, v in s.items()} for i, s in moments["state"].items()}}
        )
        optimizer.zero_grad()
        loss(model, torch.where(mask, weights, 0), train).backward()
        optimizer.step()
        with torch.no_grad():
            return float(DirectPathLoss()(model, weights, val))

    for t, s in mask.nonzero().tolist()[::2]:
        shift = torch.zeros_like(lambda_)
        shift[t, s] = 1e-5
        want = (after(lambda_ + shift) - after(lambda_ - shift)) / 2e-5
        assert float(g[t, s]) == pytest.approx(want, rel=1e-4, abs=1e-9)


def test_geometry_on_a_share_of_the_batch_is_that_of_its_first_molecules():
    model, batch = gate_cases.gate(T), gate_cases.batch(T, n_molecules=8)
    first = batch._replace(x=batch.x[:2], y=batch.y[:2], mask=batch.mask[:2])
    no_paths = torch.zeros(T, T, dtype=torch.float64)
    torch.manual_seed(1)
    got = TrainLoss(geometry_share=0.25)(model, no_paths, batch)
    torch.manual_seed(1)
    torch.testing.assert_close(got, TrainLoss()(model, no_paths, first), rtol=1e-12, atol=0)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="top_k=0: it must be at least 1, or None"):
        ActivePairs(0.1, top_k=0)
    with pytest.raises(ValueError, match="threshold >= 0"):
        ActivePairs(-0.1)
    with pytest.raises(ValueError, match="geometry_share must be above 0 and at most 1; got 0"):
        TrainLoss(geometry_share=0)
