"""The optimizer's own learning rate and weight decay as λ, against central differences of real steps."""

import copy

import pytest
import torch

from bilevel_hpo import (
    BilevelLearner,
    ClipNorm,
    ConjugateGradient,
    Direct,
    FiniteDifference,
    LossWeights,
    OneStep,
    StepBatches,
    Unrolled,
    UnsupportedError,
    WeightsDict,
)
from tests.engine.problems import batch, copied, net, plain, weighted
from tests.engine.test_hypergradients import close

MAKE = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.1),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.1, weight_decay=0.1),
    "adafactor": lambda p: torch.optim.Adafactor(p, lr=0.1, weight_decay=0.1),
}
START = {"tasks": [0.7, 1.3, 0.4], "lr": 0.03, "weight_decay": 0.2}


def learner(make, estimator=None, of=None, inner_clip=None):
    weights = WeightsDict(
        {
            "tasks": LossWeights(["a", "b", "c"], init=START["tasks"]),
            "inner": LossWeights(["lr", "weight_decay"], init=[START["lr"], START["weight_decay"]]),
        }
    ).double()
    model = net()
    return BilevelLearner(
        model,
        make(model.parameters()),
        weights,
        train_loss=lambda m, w, b: weighted(m, w["tasks"], b),
        val_loss=plain,
        hypergradient=estimator,
        inner_clip=inner_clip,
        inner_settings=of or (lambda w: {"lr": w["inner"][0], "weight_decay": w["inner"][1]}),
    )


def after_real_steps(subject, lambda_, batches, clip):
    model = copied(subject.model)
    optimizer = type(subject.inner_optimizer)(model.parameters(), lr=1.0)
    optimizer.load_state_dict(copy.deepcopy(subject.inner_optimizer.state_dict()))
    optimizer.param_groups[0].update(lr=float(lambda_[3]), weight_decay=float(lambda_[4]))
    for data in batches:
        optimizer.zero_grad()
        weighted(model, lambda_[:3], data).backward()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip.max_norm)
        optimizer.step()
    return plain(model, lambda_, batch(2)).detach()


def real_slope(subject, batches, clip=None, h=1e-6):
    lambda_ = torch.tensor([*START["tasks"], START["lr"], START["weight_decay"]], dtype=torch.float64)
    return torch.stack(
        [
            (
                after_real_steps(subject, lambda_ + h * e, batches, clip)
                - after_real_steps(subject, lambda_ - h * e, batches, clip)
            )
            / (2 * h)
            for e in torch.eye(5, dtype=torch.float64)
        ]
    )


@pytest.mark.parametrize("name", MAKE)
@pytest.mark.parametrize("estimator", [OneStep(), FiniteDifference(), Unrolled(1)], ids=repr)
@pytest.mark.parametrize("clip", [None, ClipNorm(0.1)], ids=repr)
def test_the_settings_have_the_slope_of_real_steps(name, estimator, clip):
    subject = learner(MAKE[name], estimator, inner_clip=clip)
    for seed in (10, 11):
        subject.inner_step(batch(seed))
    g = subject.hypergradient(batch(1), batch(2))
    found = torch.cat([g["tasks"], g["inner"]])
    expected = real_slope(subject, [batch(1)], clip)
    assert (expected != 0).all()
    close(found[:3], expected[:3], 1e-5)
    close(found[3:], expected[3:], 1e-5)


def test_unrolled_through_two_steps():
    subject = learner(MAKE["adamw"], Unrolled(2))
    subject.inner_step(batch(10))
    batches = [batch(1), batch(3)]
    g = subject.hypergradient(StepBatches(batches), batch(2))
    close(torch.cat([g["tasks"], g["inner"]]), real_slope(subject, batches), 1e-5)


def test_the_optimizer_follows_lambda():
    subject = learner(MAKE["sgd"])
    (group,) = subject.inner_optimizer.param_groups
    assert group["lr"] == pytest.approx(0.03)
    subject.fit([batch(1)], [batch(2)], epochs=3, outer_every=1)
    before = subject.weights()["inner"].detach().clone()
    assert not torch.allclose(before, torch.tensor([0.03, 0.2], dtype=torch.float64), rtol=1e-3)
    subject.inner_step(batch(1))
    assert [group["lr"], group["weight_decay"]] == pytest.approx(before.tolist(), rel=1e-12)


def test_one_value_a_group():
    def of(w):
        return {"lr": w["inner"]}

    def two_groups(parameters):
        first, *rest = parameters
        return torch.optim.SGD([{"params": [first]}, {"params": rest}], lr=1.0)

    subject = learner(two_groups, of=of)
    assert [group["lr"] for group in subject.inner_optimizer.param_groups] == pytest.approx([0.03, 0.2])


@pytest.mark.parametrize("estimator", [Direct(), ConjugateGradient()], ids=repr)
def test_an_estimator_that_looks_at_no_step_refuses(estimator):
    with pytest.raises(UnsupportedError, match="does not differentiate a step"):
        learner(MAKE["sgd"], estimator)


@pytest.mark.parametrize(
    ("of", "error", "message"),
    [
        (lambda w: {"momentum": w["inner"][0]}, UnsupportedError, "'momentum'.*must be one of 'lr', 'weight_decay'"),
        (lambda w: {"lr": w["tasks"]}, ValueError, r"shape \(3,\).*one value"),
        (lambda w: {"lr": 0.1}, ValueError, "is of float"),
        (lambda w: w["inner"], TypeError, "returned Tensor; it must return a dict"),
    ],
)
def test_what_it_returns_is_checked_before_training(of, error, message):
    with pytest.raises(error, match=message):
        learner(MAKE["sgd"], of=of)
