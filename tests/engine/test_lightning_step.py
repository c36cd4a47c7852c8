"""The Trainer takes the step that the hypergradient belongs to, or the callback says that it does not."""

import copy
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.plugins import MixedPrecision
from torch import Tensor, nn

from bilevel_hpo import LossWeights, OneStep, UnsupportedError
from tests.engine.lightning_problem import (
    LOADER,
    TRAIN,
    VAL,
    Forgets,
    Module,
    Noisy,
    callback,
    loss_weights,
    one_thread,
    train_loss,
    trainer,
    val_loss,
)
from tests.engine.lightning_ranks import trained

one_thread = pytest.fixture(autouse=True, scope="module")(one_thread)
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:lightning", "ignore::FutureWarning:lightning")


class Detached(Noisy):
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return train_loss(self, self.weights().detach(), batch)


class Centred(nn.Module):
    """Subtracts a running mean that is no buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = torch.zeros(8)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(0)
        return x - self.mean


def test_tensors_kept_as_attributes_are_those_of_the_training_alone(tmp_path: Path) -> None:
    def trained(*callbacks: Any) -> Module:
        module = Module(weights)
        module.net = nn.Sequential(module.net[0], Centred(), *module.net[1:])
        trainer(tmp_path, *callbacks, max_epochs=2).fit(module, LOADER)
        return module

    weights = loss_weights()
    still = torch.optim.SGD(weights.parameters(), lr=0.0)
    estimator = OneStep(tolerance=None)
    ours, other = trained(callback(weights, outer_optimizer=still, hypergradient=estimator, outer_every=1)), trained()
    torch.testing.assert_close(ours.net[1].mean, other.net[1].mean, rtol=1e-5, atol=1e-6)
    for p, q in zip(ours.net.parameters(), other.net.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-5)


class DrawsFirst(Noisy):
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        torch.rand(7)
        return train_loss(self, self.weights(), batch)


class DrawsFirstDetached(Noisy):
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        torch.rand(7)
        return train_loss(self, self.weights().detach(), batch)


class LooksAtTheGradient(Noisy):
    def on_after_backward(self) -> None:
        for p in self.net.parameters():
            p.grad.nan_to_num_()

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        self.norm = torch.cat([p.grad.flatten() for p in self.net.parameters()]).norm().item()


class StepsByHand(Module):
    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        optimizer_closure()
        optimizer.step()


class LeavesOutBatches(Noisy):
    def training_step(self, batch: Any, batch_idx: int) -> Tensor | None:
        return None if batch_idx % 2 == 0 else super().training_step(batch, batch_idx)


def fit(path: Path, module: type[Module], weights: LossWeights | None = None, **options: Any) -> Any:
    weights = loss_weights() if weights is None else weights
    bilevel = callback(
        weights,
        outer_every=options.pop("outer_every", 1),
        hypergradient=OneStep(),
        **{name: options.pop(name) for name in ("warm_up", "check_step") if name in options},
    )
    made = module(weights)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="training_step may not use")
        trainer(path, bilevel, max_epochs=2, **options).fit(made, LOADER)
    return made, bilevel


@pytest.mark.parametrize(
    "module", [Noisy, Detached, DrawsFirst, LooksAtTheGradient, StepsByHand, LeavesOutBatches], ids=lambda m: m.__name__
)
def test_a_training_step_that_uses_lambda_is_left_in_peace(tmp_path: Path, module: type[Module]) -> None:
    _, bilevel = fit(tmp_path, module)
    assert len(bilevel.history) == 2 * len(TRAIN)


@pytest.mark.filterwarnings("ignore::bilevel_hpo.UncertifiedWarning")  # of bfloat16 parameters
@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true", "bf16-true"])
def test_it_is_left_in_peace_in_every_precision(tmp_path: Path, precision: Any) -> None:
    weights = loss_weights().to({"64-true": torch.float64, "bf16-true": torch.bfloat16}.get(precision))
    options = {"plugins": MixedPrecision(precision, "cpu")} if "mixed" in precision else {"precision": precision}
    _, bilevel = fit(tmp_path, Noisy, weights, **options)
    assert len(bilevel.history) == 2 * len(TRAIN)


def test_the_comparison_changes_nothing(tmp_path: Path) -> None:
    runs = []
    for check_step in (True, False):
        torch.manual_seed(3)
        runs.append(fit(tmp_path, DrawsFirst, check_step=check_step))
    (one, first), (other, second) = runs
    assert torch.equal(first.weights(), second.weights())
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


class ForgetsNoisily(Noisy, Forgets):
    training_step = Forgets.training_step


class KeepsACopy(Module):
    def __init__(self, weights: LossWeights) -> None:
        super().__init__(copy.deepcopy(weights))


class Penalised(Module):
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return super().training_step(batch, batch_idx) + self.net[0].weight.square().sum()


class OtherFormula(Noisy):
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return 20 * super().training_step(batch, batch_idx)


class Halves(Module):
    def on_before_optimizer_step(self, optimizer: Any) -> None:
        for p in self.net.parameters():
            p.grad.mul_(0.5)


class HalvesEarlier(Module):
    def on_after_backward(self) -> None:
        Halves.on_before_optimizer_step(self, None)


class SkipsSteps(Module):
    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        if batch_idx % 2:
            optimizer.step(closure=optimizer_closure)
        else:
            optimizer_closure()


NUMBERS = r"\(training_step returned [\d.]+, train_loss gives [\d.]+\)"


@pytest.mark.parametrize("warm_up", [0, 3])
@pytest.mark.parametrize(
    ("module", "said"),
    [
        (Penalised, rf"% away from that of train_loss at the present λ {NUMBERS}.*check_step=False"),
        (OtherFormula, NUMBERS),
        (Halves, "50.0% away.*what changes the gradient: on_before_optimizer_step"),
        (HalvesEarlier, "50.0% away.*what changes the gradient: on_after_backward"),
        (SkipsSteps, "took no step.*optimizer_step"),
    ],
    ids=lambda given: given.__name__ if isinstance(given, type) else "",
)
def test_another_step_is_an_error_at_the_first_batch(
    tmp_path: Path, module: type[Module], said: str, warm_up: int
) -> None:
    with pytest.raises(UnsupportedError, match=said):
        fit(tmp_path, module, outer_every=2, warm_up=warm_up)


@pytest.mark.parametrize("module", [Forgets, ForgetsNoisily, KeepsACopy])
def test_a_lambda_that_never_arrives_is_an_error_at_the_first_outer_step(tmp_path: Path, module: type[Module]) -> None:
    said = rf"λ never arrives in training_step: .* with λ as at the start, [\d.]+% from .* {NUMBERS}\. Let training_st"
    with pytest.raises(UnsupportedError, match=said):
        fit(tmp_path, module)


def test_check_step_false_lets_it_pass(tmp_path: Path) -> None:
    _, bilevel = fit(tmp_path, Forgets, check_step=False)
    assert len(bilevel.history) == 2 * len(TRAIN)


def test_what_chance_may_explain_is_a_warning_where_no_gradient_reaches_lambda(tmp_path: Path) -> None:
    with pytest.raises(UserWarning, match=r"training_step may not use λ: .*random numbers drawn in another order"):
        fit(tmp_path, DrawsFirstDetached)


class Clips(Module):
    def configure_gradient_clipping(self, optimizer: Any, **options: Any) -> None:
        self.clip_gradients(optimizer, **options)


def test_clipping_by_hand_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"configure_gradient_clipping.*gradient_clip_val"):
        fit(tmp_path, Clips)


class RecordsNorms(Module):
    """In float64; λ of the last step may be set."""

    def __init__(self, weights: Any, last: Tensor | None = None) -> None:
        super().__init__(weights)
        self.double()
        self.norms: list[float] = []
        self.last = last

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        lambda_ = self.weights() if self.last is None or batch_idx < 2 else self.last
        return train_loss(self, lambda_, batch)

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        self.norms.append(torch.cat([p.grad.flatten() for p in self.net.parameters()]).norm().item())

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.net.parameters(), lr=0.5, momentum=0.9)


@pytest.mark.parametrize(
    ("algorithm", "value"), [("norm", 0.03), (None, 0.03), ("value", 0.004), ("norm", 1e6), ("norm", 0)]
)
def test_a_clipped_step_has_the_hypergradient_of_real_training(
    tmp_path: Path, algorithm: str | None, value: float
) -> None:
    options = {"gradient_clip_val": value, "gradient_clip_algorithm": algorithm, "limit_train_batches": 3}

    def real(lambda_: Tensor) -> float:
        """L_val after three steps of a Trainer without the callback, the last at λ."""
        module = RecordsNorms(lambda: torch.ones(3, dtype=torch.float64), lambda_)
        trainer(tmp_path, precision="64-true", **options).fit(module, LOADER)
        x, y = (part.double() for part in VAL[0])
        return val_loss(module.eval(), lambda_, (x, y)).item()

    weights = loss_weights().double()
    module, bilevel = RecordsNorms(weights), callback(weights, warm_up=2)
    trainer(tmp_path, bilevel, precision="64-true", **options).fit(module, LOADER)
    assert value in (0, 1e6) or module.norms[-1] > 8 * value
    g = bilevel.history.filter(like="g:").iloc[-1].to_numpy()
    h = 1e-5 * torch.eye(3, dtype=torch.float64)
    expected = [(real(1 + step) - real(1 - step)) / 2e-5 for step in h]
    assert g == pytest.approx(expected, rel=1e-5, abs=1e-9)
    assert max(abs(g)) > 1e-5


def test_two_ranks_learn_the_lambda_of_one_and_say_the_same(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    answer = subprocess.run(
        [*command, "-m", "tests.engine.lightning_ranks"],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    first, second = json.loads(answer.stdout.splitlines()[-1])
    assert first["Module"] == second["Module"] == pytest.approx(trained(Module, tmp_path, 0, 1), abs=1e-9)
    assert first["Noisy"] == second["Noisy"]
    assert first["Noisy"][2] < 0.9
    assert "λ never arrives in training_step" in first["Forgets"]
    assert "λ never arrives in training_step" in second["Forgets"]
