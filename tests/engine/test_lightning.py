"""`BilevelCallback`: the outer steps in a Lightning Trainer, its checkpoints, and what it refuses."""

import importlib
import importlib.util
import io
import sys
import warnings
from pathlib import Path
from typing import Any

import lightning
import pandas as pd
import pytest
import torch
from lightning.pytorch.plugins import MixedPrecision
from torch import Tensor

from bilevel_hpo import (
    BilevelLearner,
    FiniteDifference,
    Hypergradient,
    NonFiniteWarning,
    OneStep,
    UnsupportedError,
)
from bilevel_hpo.lightning import BilevelCallback
from bilevel_hpo.signal import signal
from tests.engine.lightning_problem import (
    LOADER,
    TRAIN,
    VAL,
    CallsItself,
    Module,
    callback,
    loss_weights,
    one_thread,
    same_parameters,
    through_forward,
    train_loss,
    trainer,
    val_loss,
)

EXAMPLE = Path(__file__).parents[2] / "examples" / "lightning_module.py"
TIMINGS = ["seconds", "outer_seconds"]
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:lightning", "ignore::FutureWarning:lightning")


one_thread = pytest.fixture(autouse=True, scope="module")(one_thread)


def test_noise_loses_weight_and_lambda_is_logged(tmp_path: Path) -> None:
    weights = loss_weights()
    bilevel = callback(weights, outer_every=2, warm_up=3)
    logger = lightning.pytorch.loggers.CSVLogger(tmp_path)
    fit = trainer(tmp_path, bilevel, max_epochs=20, logger=logger, log_every_n_steps=1)
    fit.fit(Module(weights), LOADER)
    final = weights.to_series()
    assert final["noise"] < 0.7
    assert final[["a", "b"]].min() > 1.05
    assert bilevel.history["inner_step"].tolist() == list(range(3, 20 * len(TRAIN), 2))
    assert bilevel.history["epoch"].tolist() == [step // len(TRAIN) + 1 for step in range(3, 20 * len(TRAIN), 2)]
    assert bilevel.history["seconds"].is_monotonic_increasing
    assert bilevel.learner.trajectory.shape == (21, 3)
    assert torch.equal(bilevel.learner.trajectory[-1], weights().detach())
    logged = pd.read_csv(Path(logger.log_dir) / "metrics.csv")
    assert logged["lambda/noise"].iloc[-1] == pytest.approx(final["noise"], abs=1e-5)


@pytest.mark.parametrize("estimator", [OneStep, FiniteDifference])
def test_it_is_the_hypergradient_of_the_step_to_come(tmp_path: Path, estimator: type[Hypergradient]) -> None:
    weights = loss_weights()
    module, bilevel = Module(weights), callback(weights, outer_every=3, warm_up=1, hypergradient=estimator())
    trainer(tmp_path, bilevel, max_epochs=2).fit(module, LOADER)

    by_hand = loss_weights()
    other = Module(by_hand)
    learner = BilevelLearner(
        other,
        torch.optim.AdamW(other.net.parameters(), lr=0.02),
        by_hand,
        train_loss=train_loss,
        val_loss=val_loss,
        hypergradient=estimator(),
        outer_optimizer=torch.optim.Adam(by_hand.parameters(), lr=0.05),
    )
    for step, batch in enumerate(TRAIN * 2):
        if step >= 1 and (step - 1) % 3 == 0:
            learner.outer_step(batch, VAL[learner.outer_steps % len(VAL)])
        learner.inner_step(batch)
    assert torch.equal(weights(), by_hand())
    same_parameters(module, other)
    columns = [c for c in learner.history if c not in (*TIMINGS, "epoch")]
    pd.testing.assert_frame_equal(bilevel.history[columns], learner.history[columns], check_exact=True)


@pytest.mark.parametrize("per", ["epoch", "validation", "step"])
def test_resuming_equals_an_uninterrupted_run_to_the_bit(tmp_path: Path, per: str) -> None:
    def run(epochs: int, path: Path, resume: Path | None = None) -> tuple[Module, BilevelCallback]:
        weights = loss_weights()
        module, bilevel = Module(weights), callback(weights, outer_every=2, warm_up=2, hypergradient=OneStep())
        when = {"every_n_train_steps": 2 * len(TRAIN)} if per == "step" else {"save_on_train_epoch_end": per == "epoch"}
        saving = lightning.pytorch.callbacks.ModelCheckpoint(path, filename="last", **when)
        if per == "validation":
            module.validation_step = lambda batch, batch_idx: None
        fit = trainer(path, bilevel, saving, max_epochs=epochs, enable_checkpointing=True)
        fit.fit(module, LOADER, LOADER if per == "validation" else None, ckpt_path=resume)
        return module, bilevel

    whole, uninterrupted = run(4, tmp_path / "whole")
    run(2, tmp_path / "first")
    # Nothing of the first run but its file is left.
    resumed, bilevel = run(4, tmp_path / "second", tmp_path / "first" / "last.ckpt")
    assert bilevel.learner.outer_steps == uninterrupted.learner.outer_steps == 13
    same_parameters(resumed, whole)
    one, other = bilevel.history.drop(columns=TIMINGS), uninterrupted.history.drop(columns=TIMINGS)
    pd.testing.assert_frame_equal(one, other, check_exact=True)
    assert bilevel.history["seconds"].is_monotonic_increasing
    assert torch.equal(bilevel.learner.trajectory, uninterrupted.learner.trajectory)
    state, expected = (b.learner.outer_optimizer.state_dict()["state"] for b in (bilevel, uninterrupted))
    assert all(torch.equal(state[0][name], expected[0][name]) for name in ("step", "exp_avg", "exp_avg_sq"))


def test_the_state_is_plain_and_waits_for_the_learner(tmp_path: Path) -> None:
    weights = loss_weights()
    bilevel = callback(weights, outer_every=2)
    assert bilevel.state_dict() == {}
    trainer(tmp_path, bilevel).fit(Module(weights), LOADER)
    file = io.BytesIO()
    torch.save(bilevel.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    fresh = loss_weights()
    waiting = callback(fresh)
    waiting.load_state_dict(state)
    assert torch.equal(fresh(), weights())
    assert waiting.state_dict() == state
    with pytest.raises(RuntimeError, match=r"Trainer\.fit makes it"):
        waiting.history  # noqa: B018


def test_a_second_fit_goes_on_and_validating_a_checkpoint_takes_lambda_only(tmp_path: Path) -> None:
    weights = loss_weights()
    module, bilevel = Module(weights), callback(weights, outer_every=2)
    module.validation_step = lambda batch, batch_idx: None
    fit = trainer(tmp_path, bilevel)
    fit.fit(module, LOADER)
    after_one = weights().detach().clone()
    fit.save_checkpoint(tmp_path / "one.ckpt")
    fit.fit_loop.max_epochs = 2
    fit.fit(module, LOADER)
    assert len(bilevel.history) == 7
    assert not torch.equal(weights(), after_one)
    fit.validate(module, LOADER, ckpt_path=tmp_path / "one.ckpt", verbose=False)
    assert torch.equal(weights(), after_one)
    assert len(bilevel.history) == 7


def test_validation_batches_go_the_way_of_the_train_batches(tmp_path: Path) -> None:
    weights = loss_weights().double()
    module = Module(weights)
    bilevel = callback(weights, outer_every=1)
    trainer(tmp_path, bilevel, precision="64-true", limit_train_batches=4).fit(module, LOADER)
    assert [batch[0].dtype for batch in module.moved] == [torch.float64] * 8
    assert [torch.equal(batch[0].float(), VAL[i % 3][0]) for i, batch in enumerate(module.moved[1::2])] == [True] * 4
    assert bilevel.history["g:noise"].dtype == "float64"


def test_autocast_reaches_the_losses(tmp_path: Path) -> None:
    seen = []

    def watched(module: Any, lambda_: Tensor, batch: tuple[Tensor, Tensor]) -> Tensor:
        seen.append(torch.is_autocast_enabled("cpu"))
        return train_loss(module, lambda_, batch)

    weights = loss_weights()
    bilevel = callback(weights, outer_every=1, hypergradient=OneStep(), train_loss=watched)
    trainer(tmp_path, bilevel, precision="bf16-mixed", limit_train_batches=2).fit(Module(weights), LOADER)
    assert seen
    assert all(seen)
    g = torch.tensor(bilevel.history.filter(like="g:").to_numpy())
    exact = loss_weights()
    plain = callback(exact, outer_every=1, hypergradient=OneStep())
    trainer(tmp_path, plain, limit_train_batches=2).fit(Module(exact), LOADER)
    assert torch.allclose(g, torch.tensor(plain.history.filter(like="g:").to_numpy()), rtol=0.1, atol=0.05 * g.norm())


@pytest.mark.parametrize(
    ("precision", "scaler", "said"), [("bf16-mixed", None, r"autocast.*OneStep"), ("16-mixed", "cpu", "use precision=")]
)
def test_a_precision_that_spoils_the_hypergradient_is_refused(
    tmp_path: Path, precision: Any, scaler: str | None, said: str
) -> None:
    weights = loss_weights()
    plugin = MixedPrecision(precision, "cpu", scaler and torch.amp.GradScaler(scaler))
    bilevel = callback(weights, hypergradient=FiniteDifference())
    with pytest.raises(UnsupportedError, match=said):
        trainer(tmp_path, bilevel, plugins=plugin).fit(Module(weights), LOADER)


def test_a_hypergradient_that_is_not_finite_names_its_batches(tmp_path: Path) -> None:
    weights = loss_weights()
    broken = [VAL[0], (VAL[1][0], VAL[1][1] * torch.nan)]
    bilevel = callback(weights, val_batches=broken, outer_every=2)
    with pytest.warns(NonFiniteWarning, match=r"\(epoch 1, train batch 3, validation batch 2\)"):
        trainer(tmp_path, bilevel, limit_train_batches=4).fit(Module(weights), LOADER)
    assert bilevel.history["skipped"].tolist() == [False, True]


@pytest.mark.parametrize(
    ("module", "trained", "said"),
    [
        ({"optimizers": 2, "automatic": False}, {}, "2 optimizers"),
        ({"automatic": False}, {}, "automatic_optimization=False"),
        ({"all_": True}, {}, "leave them out in configure_optimizers"),
        ({}, {"accumulate_grad_batches": 2}, "accumulate_grad_batches=2.*fit"),
    ],
)
def test_what_cannot_be_followed_is_refused(tmp_path: Path, module: Any, trained: Any, said: str) -> None:
    weights = loss_weights()
    with pytest.raises(UnsupportedError, match=said):
        trainer(tmp_path, callback(weights), **trained).fit(Module(weights, **module), LOADER)


def test_accumulation_that_begins_later_is_refused(tmp_path: Path) -> None:
    weights = loss_weights()
    later = lightning.pytorch.callbacks.GradientAccumulationScheduler({1: 2})
    with pytest.raises(UnsupportedError, match="accumulate_grad_batches=2"):
        trainer(tmp_path, callback(weights), later, max_epochs=2).fit(Module(weights), LOADER)


@pytest.mark.parametrize("estimator", [OneStep, FiniteDifference])
def test_a_compiled_module_learns_the_same_lambda(tmp_path: Path, estimator: type[Hypergradient]) -> None:
    plain, compiled = loss_weights(), loss_weights()
    for weights, wrap in (
        (plain, lambda module: module),
        (compiled, lambda module: torch.compile(module, backend="aot_eager")),
    ):
        bilevel = callback(weights, outer_every=2, hypergradient=estimator(), train_loss=through_forward)
        trainer(tmp_path, bilevel).fit(wrap(CallsItself(weights)), LOADER)
    assert torch.allclose(plain(), compiled(), atol=1e-5)
    assert (plain() - 1).abs().max() > 0.05


def test_a_fault_shows_before_the_warm_up(tmp_path: Path) -> None:
    weights = loss_weights()
    bilevel = callback(weights, warm_up=100, train_loss=lambda module, lambda_, batch: module.net(batch[0]).mean(0))
    with pytest.raises(TypeError, match="must return a scalar tensor"):
        trainer(tmp_path, bilevel).fit(Module(weights), LOADER)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"val_batches": iter(VAL)}, TypeError, "pass a DataLoader or a list"),
        ({"outer_every": 0}, ValueError, "outer_every must be .*; got 0"),
        ({"outer_every": True}, ValueError, "outer_every must be .*; got True"),
        ({"warm_up": -1}, ValueError, "warm_up.* must be .*; got -1"),
    ],
)
def test_arguments_are_checked(options: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        callback(loss_weights(), **options)


def test_without_lightning_the_import_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightning.pytorch", None)
    monkeypatch.delitem(sys.modules, "bilevel_hpo.lightning")
    with pytest.raises(ImportError, match=r"pip install 'bilevel-hpo\[lightning\]'"):
        importlib.import_module("bilevel_hpo.lightning")


def test_the_example_learns_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = importlib.util.spec_from_file_location("lightning_example", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        weights = example.main(["--epochs", "12", "--outer-every", "1"])
    assert weights.to_series().idxmin() == "noise"
    assert "learned λ after 48 outer steps" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_signal_judges_what_was_learned(tmp_path: Path) -> None:
    weights = loss_weights()
    bilevel = callback(weights, outer_every=1)
    trainer(tmp_path, bilevel, max_epochs=10).fit(Module(weights), LOADER)
    told = signal(bilevel.history, weights, level=0.01)
    assert str(bilevel.signal(level=0.01)) == str(told)
    assert bilevel.estimator is bilevel.learner.estimator
    assert torch.equal(bilevel.trajectory, bilevel.learner.trajectory)


class Logs(Module):
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return logged_loss(self, self.weights(), batch)


def logged_loss(module: Any, lambda_: Tensor, batch: Any) -> Tensor:
    loss = train_loss(module, lambda_, batch)
    module.log("train_loss", loss, on_step=True)
    module.log_dict({"twice": 2 * loss})
    return loss


def test_a_train_loss_may_log(tmp_path: Path) -> None:
    weights = loss_weights()
    bilevel = callback(weights, outer_every=1, warm_up=1, train_loss=logged_loss)
    logger = lightning.pytorch.loggers.CSVLogger(tmp_path)
    fit = trainer(tmp_path, bilevel, logger=logger, log_every_n_steps=1)
    fit.fit(Logs(weights), LOADER)
    assert pd.read_csv(Path(logger.log_dir) / "metrics.csv")["train_loss"].notna().sum() == len(TRAIN)
    assert len(bilevel.history) == len(TRAIN) - 1
