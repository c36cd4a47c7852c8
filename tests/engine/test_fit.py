"""`fit`: its loop against one written out, stopping, the progress line, the validation loss of an epoch, schedulers."""

import copy
import math
import sys
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR
from torch.utils.data import DataLoader, IterableDataset

from bilevel_hpo import Direct, MicroBatches, OneStep, StepBatches, Unrolled
from tests.engine.problems import Shuffled, batch, budget_learner, named, net, plain, weighted

NAMES = ["a", "b", "c"]
TRAIN = [batch(i) for i in range(5)]
VAL = [batch(i) for i in range(20, 22)]


def dropping(seed=0, scheduler=None, **options):
    """A learner whose losses draw random numbers and whose model has buffers."""
    model = net(nn.Dropout(0.3), nn.BatchNorm1d(5), seed=seed)
    inner = torch.optim.Adam(model.parameters(), lr=0.02)
    made = StepLR(inner, step_size=3, gamma=0.9) if scheduler is None else scheduler(inner)
    options = {"hypergradient": OneStep(), "val_loss": named} | options
    return budget_learner(model, NAMES, inner_optimizer=inner, inner_scheduler=made, **options)


def plateau(optimizer):
    return ReduceLROnPlateau(optimizer, factor=0.5, patience=0, threshold=0.02)


def bits(learner):
    """Everything that a training leaves, but for times."""
    return [
        *learner.model.state_dict().values(),
        learner.weights().detach(),
        learner.trajectory,
        torch.get_rng_state(),
        torch.tensor(learner.epochs.drop(columns="seconds").to_numpy(dtype=float)),
        torch.tensor([learner.inner_optimizer.param_groups[0]["lr"], learner.inner_steps, learner.outer_steps]),
    ]


def assert_same_bits(a, b):
    for x, y in zip(a, b, strict=True):
        assert torch.equal(x.nan_to_num(nan=-7.0), y.nan_to_num(nan=-7.0))


def train_and_val_losses(model, lambda_, data):
    """A validation loss with a random number in it, drawn in eval mode too."""
    return plain(model, lambda_, data) * (1 + 0.1 * torch.rand((), dtype=torch.float64))


# ---------------------------------------------------------------------------------------------------- the loop


def written_out(learner, epochs, every, warm_up=0, accumulate=1):
    """What `fit` is to do on TRAIN and VAL, step by step."""
    count = learner.estimator.steps
    groups = [TRAIN[i : i + accumulate] for i in range(0, len(TRAIN), accumulate)]
    steps = [MicroBatches(group) if accumulate > 1 else group[0] for group in groups]
    learner.hypergradient(steps[0] if count == 1 else StepBatches(steps[i % len(steps)] for i in range(count)), VAL[0])
    for _ in range(epochs):
        for number, one in enumerate(steps):
            ahead = steps[number : number + count]
            several = one if count == 1 else StepBatches(ahead[i % len(ahead)] for i in range(count))
            after = learner.inner_steps - warm_up
            if every != "epoch" and after >= 0 and after % every == 0:
                learner.step(several, VAL[learner.outer_steps % len(VAL)])
            else:
                learner.inner_step(one)
        if every == "epoch" and learner.inner_steps > warm_up:
            for number, val in enumerate(VAL):
                several = [steps[(number * count + i) % len(steps)] for i in range(count)]
                learner.outer_step(several[0] if count == 1 else StepBatches(several), val)


@pytest.mark.parametrize("estimator", [OneStep(), Unrolled(3), Direct()], ids=repr)
@pytest.mark.parametrize("options", [(1, 0, 1), (2, 3, 1), (2, 0, 2), ("epoch", 0, 1), ("epoch", 7, 2)], ids=str)
def test_the_loop_equals_one_written_out_to_the_bit(estimator, options):
    every, warm_up, accumulate = options
    torch.manual_seed(3)
    ours = dropping(hypergradient=estimator)
    ours.fit(TRAIN, VAL, 3, every, warm_up=warm_up, accumulate=accumulate)
    after = torch.get_rng_state()
    torch.manual_seed(3)
    other = dropping(hypergradient=estimator)
    written_out(other, 3, every, warm_up, accumulate)
    assert torch.equal(after, torch.get_rng_state())
    assert torch.equal(ours.weights(), other.weights())
    for a, b in zip(ours.model.state_dict().values(), other.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_a_loop_of_ones_own_closes_its_epochs():
    by_fit = budget_learner(net(), NAMES).fit(TRAIN, VAL, epochs=2, outer_every=1)
    own = budget_learner(net(), NAMES)
    own.hypergradient(TRAIN[0], VAL[0])
    for epoch in (1, 2):
        losses = [own.step(data, VAL[own.outer_steps % 2]) for data in TRAIN]
        row = own.end_epoch(float(torch.stack(losses).mean()))
        assert (row.epoch, row.outer_steps, math.isnan(row.val_loss)) == (epoch, 5, True)
    assert torch.equal(own.trajectory, by_fit.trajectory)
    columns = ["epoch", "train_loss", "outer_steps", "skipped"]
    assert own.epochs[columns].equals(by_fit.epochs[columns])


# ---------------------------------------------------------------------------------------------------- callbacks


@pytest.mark.parametrize(("every", "calls"), [(2, 10), (None, 10), ("epoch", 14)])
def test_a_step_callback_is_called_after_every_step(every, calls):
    seen = []

    def note(learner):
        outer = learner.last_outer_step
        seen.append((learner.inner_steps, float(learner.last_loss), 0 if outer is None else outer.outer_step))

    learner = budget_learner(net(), NAMES)
    assert learner.last_loss is None
    assert learner.last_outer_step is None
    learner.fit(TRAIN, VAL, epochs=2, outer_every=every, step_callbacks=[note])
    assert len(seen) == calls
    assert [number for number, _, _ in seen] == sorted(number for number, _, _ in seen)
    assert seen[-1][2] == learner.outer_steps
    by_step = {number: loss for number, loss, _ in seen}
    means = [sum(by_step[i] for i in steps) / 5 for steps in (range(1, 6), range(6, 11))]
    assert learner.epochs["train_loss"].tolist() == pytest.approx(means, rel=1e-12)
    if every == 2:
        assert seen[1][2] == 1
        assert learner.last_outer_step.val_loss == learner.history["val_loss"].iloc[-1]  # type: ignore[attr-defined]


def stop_at(step):
    return lambda learner: learner.stop() if learner.inner_steps == step else None


def test_a_step_callback_stops_the_training_there_and_the_epoch_is_closed():
    ends, losses = [], []
    learner = budget_learner(net(), NAMES)
    learner.fit(
        TRAIN,
        VAL,
        epochs=4,
        outer_every=2,
        callbacks=[lambda it: ends.append((it.epoch, it.inner_steps))],
        step_callbacks=[lambda it: losses.append(float(it.last_loss)), stop_at(7)],
    )
    assert (learner.epoch, learner.inner_steps, learner.outer_steps) == (2, 7, 4)
    assert ends == [(1, 5), (2, 7)]
    rows = learner.epochs
    assert rows["outer_steps"].tolist() == [3, 1]
    assert rows["stopped"].tolist() == [False, True]
    assert rows["train_loss"].tolist() == pytest.approx([sum(losses[:5]) / 5, sum(losses[5:]) / 2])
    assert torch.equal(learner.trajectory[-1], learner.weights().detach())
    assert len(learner.trajectory) == 3
    assert learner.stopping is None
    assert learner.fit(TRAIN, VAL, epochs=4, outer_every=2).inner_steps == 17  # two whole epochs more
    assert learner.epochs["stopped"].tolist() == [False, True, False, False]


@pytest.mark.parametrize("every", ["epoch", 2])
def test_a_run_that_was_stopped_in_an_epoch_is_resumed_to_the_bit(tmp_path, every):
    train, val = Shuffled(TRAIN), Shuffled(VAL)
    torch.manual_seed(7)
    whole = dropping().fit(train, val, epochs=4, outer_every=every, step_callbacks=[stop_at(7)])
    torch.save(whole.state_dict(), tmp_path / "stopped.pt")
    whole.fit(train, val, epochs=4, outer_every=every)
    expected = bits(whole)
    torch.manual_seed(99)
    resumed = dropping(seed=3)
    resumed.load_state_dict(torch.load(tmp_path / "stopped.pt", weights_only=True))
    assert resumed.epochs["stopped"].tolist() == [False, True]
    assert_same_bits(bits(resumed.fit(train, val, epochs=4, outer_every=every)), expected)


def test_stopping_leaves_out_an_outer_pass_or_the_rest_of_one():
    before = budget_learner(net(), NAMES).fit(TRAIN, VAL, 3, "epoch", step_callbacks=[stop_at(3)])
    assert (before.epoch, before.inner_steps, before.outer_steps) == (1, 3, 0)
    inside = budget_learner(net(), NAMES)
    inside.fit(TRAIN, VAL, 3, "epoch", step_callbacks=[lambda it: it.stop() if it.outer_steps == 3 else None])
    assert (inside.epoch, inside.inner_steps, inside.outer_steps) == (2, 10, 3)
    assert inside.epochs["outer_steps"].tolist() == [2, 1]


def test_a_callback_of_epochs_stops_after_a_whole_one():
    learner, seen = budget_learner(net(), NAMES), []
    learner.fit(TRAIN, VAL, 5, callbacks=[lambda it: it.epoch == 2 and it.stop(), lambda it: seen.append(it.epoch)])
    assert (learner.epoch, learner.inner_steps, seen) == (2, 10, [1, 2])
    assert not learner.epochs["stopped"].any()


def test_stop_and_fit_where_they_make_no_sense():
    learner = budget_learner(net(), NAMES)
    with pytest.raises(RuntimeError, match="none is running"):
        learner.stop()
    with pytest.raises(RuntimeError, match="fit of the same learner is running"):
        learner.fit(TRAIN, VAL, 2, callbacks=[lambda it: it.fit(TRAIN, VAL, 3)])
    assert learner.fit(TRAIN, VAL, 2).epoch == 2  # an error has ended the first


def test_callbacks_may_be_given_as_an_iterator_and_may_copy_the_learner():
    seen, copies = [], []
    both = iter([lambda it: seen.append(it.epoch), lambda it: copies.append(copy.deepcopy(it))])
    learner = budget_learner(net(), NAMES).fit(TRAIN, VAL, 3, callbacks=both)
    assert seen == [1, 2, 3]
    assert torch.equal(copies[1].weights(), learner.trajectory[2])


# ---------------------------------------------------------------------------------------------------- progress


def test_the_line_shows_the_training_and_changes_nothing(capsys):
    torch.manual_seed(1)
    shown = bits(dropping().fit(Shuffled(TRAIN), VAL, 3, 2, progress=True))
    err = capsys.readouterr().err
    assert "epoch 1/3" in err
    assert "15/15" in err
    assert "8 outer steps" in err
    for said in ("train ", "val ", "λ a=", "λ b=", "λ c="):
        assert said in err
    torch.manual_seed(1)
    assert_same_bits(bits(dropping().fit(Shuffled(TRAIN), VAL, 3, 2, progress=False)), shown)


def test_without_a_word_only_a_terminal_gets_a_line(capsys, monkeypatch):
    budget_learner(net(), NAMES).fit(TRAIN, VAL, 1)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    budget_learner(net(), NAMES).fit(TRAIN, VAL, 1)
    assert "epoch 1/1" in capsys.readouterr().err
    done = budget_learner(net(), NAMES).fit(TRAIN, VAL, 1, progress=False)
    assert capsys.readouterr().err == ""
    assert done.fit(TRAIN, VAL, 1).epoch == 1  # nothing left to do, nothing to show
    assert capsys.readouterr().err == ""


def test_many_weights_are_shown_as_a_range_and_a_length_may_be_unknown(capsys):
    class Endless:
        def __iter__(self):
            return iter(TRAIN)

    names = [str(i) for i in range(9)]
    learner = budget_learner(
        net(), names, train_loss=lambda m, w, d: weighted(m, w.reshape(3, 3).sum(0), d), hypergradient=OneStep()
    )
    learner.fit(Endless(), VAL, 2, 1, progress=True)
    assert "9 λ from" in capsys.readouterr().err


# ---------------------------------------------------------------------------------------------------- val_loss


@pytest.mark.parametrize("every", [2, 4, "epoch"])
def test_val_loss_is_the_mean_over_the_outer_steps_of_the_epoch(every):
    learner = budget_learner(net(), NAMES).fit(TRAIN, VAL, 4, every, warm_up=6)
    expected = learner.history.groupby("epoch")["val_loss"].mean().reindex(range(1, 5))
    assert learner.epochs["val_loss"].tolist() == pytest.approx(expected.tolist(), rel=1e-14, nan_ok=True)
    assert math.isnan(learner.epochs["val_loss"][0])
    assert learner.epochs["val_loss"][1:].notna().sum() >= 2


def test_val_loss_is_that_after_the_inner_step_of_each():
    learner, after = budget_learner(net(), NAMES, hypergradient=OneStep()), []

    def expect(it):
        it.model.eval()
        after.append(plain(it.model, None, VAL[(it.outer_steps - 1) % 2]).item())
        it.model.train()

    learner.fit(TRAIN, VAL, 1, 1, step_callbacks=[expect])
    assert learner.epochs["val_loss"][0] == pytest.approx(sum(after) / 5, rel=1e-9)


def test_skipped_outer_steps_do_not_enter_val_loss():
    learner = budget_learner(net(), NAMES, val_loss=lambda m, w, d: plain(m, w, d[:2]) * d[2])
    with pytest.warns(Warning, match="not finite"):
        learner.fit(TRAIN, [(*VAL[0], 1.0), (*VAL[1], math.nan)], 1, "epoch")
    assert learner.epochs["val_loss"][0] == learner.history["val_loss"][0]


def test_validation_at_the_end_of_an_epoch_leaves_the_training_as_it_is():
    torch.manual_seed(2)
    quiet = dropping(val_loss=train_and_val_losses).fit(Shuffled(TRAIN), Shuffled(VAL), 3, 2)
    expected = bits(quiet)
    torch.manual_seed(2)
    checked = dropping(val_loss=train_and_val_losses).fit(Shuffled(TRAIN), Shuffled(VAL), 3, 2, validate=True)
    found = bits(checked)
    for index, (a, b) in enumerate(zip(found, expected, strict=True)):
        assert torch.equal(a, b) == (index != len(expected) - 2)  # all but the frame with val_loss
    assert checked.epochs["val_loss"].notna().all()


def test_validation_at_the_end_of_an_epoch_is_validate():
    values = []
    learner = dropping(val_loss=plain)
    learner.fit(TRAIN, VAL, 3, None, validate=True, callbacks=[lambda it: values.append(it.validate(VAL))])
    assert learner.epochs["val_loss"].tolist() == values


def test_a_state_from_before_there_was_a_val_loss_is_read():
    learner = budget_learner(net(), NAMES).fit(TRAIN, VAL, 2)
    state = copy.deepcopy(learner.state_dict())
    for row in state["progress"]["epochs"]:
        del row["val_loss"], row["stopped"]
    old = budget_learner(net(), NAMES)
    old.load_state_dict(state)
    assert old.epochs["val_loss"].isna().all()
    assert not old.epochs["stopped"].any()
    assert old.fit(TRAIN, VAL, 3, 1).epochs["val_loss"].notna().tolist() == [False, False, True]


def test_no_batch_to_validate_is_named():
    with pytest.raises(ValueError, match="batches must give at least one batch"):
        budget_learner(net(), NAMES).validate([])


# ---------------------------------------------------------------------------------------------------- schedulers


def test_reduce_on_plateau_is_stepped_once_an_epoch_with_the_validation_loss():
    model = net()
    twin = copy.deepcopy(model)
    inner = torch.optim.Adam(model.parameters(), lr=0.3)
    learner = budget_learner(model, NAMES, inner_optimizer=inner, inner_scheduler=plateau(inner))
    rates = []
    learner.fit(TRAIN, VAL, 8, None, callbacks=[lambda it: rates.append(inner.param_groups[0]["lr"])])

    optimizer = torch.optim.Adam(twin.parameters(), lr=0.3)
    scheduler, expected = plateau(optimizer), []
    for _ in range(8):
        for data in TRAIN:
            optimizer.zero_grad()
            weighted(twin, torch.full((3,), 1 / 3, dtype=torch.float64), data).backward()
            optimizer.step()
        with torch.no_grad():
            scheduler.step(sum(plain(twin, None, data).item() for data in VAL) / 2)
        expected.append(optimizer.param_groups[0]["lr"])
    assert rates == expected
    assert 0.3 > rates[-1] > 0
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("every", ["epoch", 2, None])
def test_a_run_with_reduce_on_plateau_is_resumed_to_the_bit(tmp_path, every):
    train, val = Shuffled(TRAIN), Shuffled(VAL)
    torch.manual_seed(7)
    whole = dropping(scheduler=plateau).fit(train, val, epochs=7, outer_every=every)
    expected = bits(whole)
    assert whole.inner_optimizer.param_groups[0]["lr"] < 0.02
    torch.manual_seed(7)
    saved = []
    dropping(scheduler=plateau).fit(train, val, 4, every, callbacks=[lambda it: saved.append(it.state_dict())])
    torch.save(saved[-1], tmp_path / "state.pt")
    torch.manual_seed(99)
    resumed = dropping(seed=5, scheduler=plateau)
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert_same_bits(bits(resumed.fit(train, val, epochs=7, outer_every=every)), expected)


def test_other_schedulers_are_stepped_after_every_inner_step():
    learner = dropping().fit(TRAIN, VAL, 2)
    assert learner.inner_optimizer.param_groups[0]["lr"] == pytest.approx(0.02 * 0.9**3)


# ---------------------------------------------------------------------------------------------------- errors


class Once:
    """Says that it can be iterated, but gives its batches in one pass only."""

    def __init__(self, batches):
        self.left = list(batches)

    def __iter__(self):
        while self.left:
            yield self.left.pop(0)


class Stream(IterableDataset[Any]):
    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        return iter(self.batches)


def test_batches_that_run_out_are_named_with_the_epoch():
    with pytest.raises(ValueError, match="train_batches gave no batch in epoch 2"):
        budget_learner(net(), NAMES).fit(Once(TRAIN), VAL, 2)
    with pytest.raises(ValueError, match="val_batches must give at least one batch"):
        budget_learner(net(), NAMES).fit(TRAIN, Once(VAL[:1]), 2, 2)


def test_loaders_without_a_length_are_iterated_like_the_others():
    train, val = (DataLoader(Stream(batches), batch_size=None) for batches in (TRAIN, VAL))
    streamed = budget_learner(net(), NAMES).fit(train, val, 2, "epoch")
    assert torch.equal(streamed.weights(), budget_learner(net(), NAMES).fit(TRAIN, VAL, 2, "epoch").weights())


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"train_batches": []}, ValueError, "train_batches must have at least one batch"),
        ({"val_batches": []}, ValueError, "val_batches must have at least one batch"),
        ({"val_batches": [], "outer_every": None, "validate": True}, ValueError, "val_batches must have at least one"),
        ({"epochs": -1}, ValueError, "epochs.* must be .*; got -1"),
        ({"epochs": 2.5}, ValueError, r"epochs.* must be .*; got 2\.5"),
        ({"callbacks": print}, TypeError, "callbacks must be a list of functions.*builtin_function"),
        ({"step_callbacks": [print, 3]}, TypeError, "step_callbacks must be a list of functions.*got a int"),
    ],
)
def test_what_cannot_be_is_said_before_any_work(given, error, message):
    learner = budget_learner(net(), NAMES)
    with pytest.raises(error, match=message):
        learner.fit(**{"train_batches": TRAIN, "val_batches": VAL, "epochs": 1} | given)
    assert learner.inner_steps == 0


def test_validation_batches_may_be_missing_where_nothing_needs_them():
    assert budget_learner(net(), NAMES).fit(TRAIN, [], 2, None).epoch == 2


def test_frozen_weights_and_a_frozen_model_are_named_before_any_work():
    learner = budget_learner(net(), NAMES)
    learner.weights.requires_grad_(False)  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=r"no parameter of `weights` requires a gradient.*outer_every=None"):
        learner.fit(TRAIN, VAL, 1)
    assert learner.inner_steps == 0
    assert learner.fit(TRAIN, VAL, 1, None).inner_steps == 5
    learner.weights.requires_grad_()  # type: ignore[attr-defined]
    learner.model.requires_grad_(False)
    with pytest.raises(ValueError, match="no parameter of inner_optimizer requires a gradient"):
        learner.fit(TRAIN, VAL, 2)
