"""What is proposed and pruned depends on the seed and on earlier rounds alone, not on who is quicker, or where."""

import copy
import json
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, PatientPruner, SuccessiveHalvingPruner
from optuna.samplers import GPSampler, RandomSampler, TPESampler
from optuna.trial import TrialState, create_trial

from bilevel_hpo import search

optuna.logging.set_verbosity(optuna.logging.ERROR)
BOUNDS = {"a": (0.0, 1.0), "b": (-1.0, 2.0)}
SPACE = {"a": [0.9, 0.0, 0.3, 0.6], "b": [-1.0, 0.5, 2.0]}
SAMPLERS = {"tpe": TPESampler, "gp": GPSampler, "random": RandomSampler}
PRUNERS = {
    "median": MedianPruner(n_startup_trials=2),
    "halving": SuccessiveHalvingPruner(min_resource=1, reduction_factor=2),
    "hyperband": HyperbandPruner(min_resource=1, max_resource=9, reduction_factor=2),
    "hyperband, its scale from the first trial": HyperbandPruner(min_resource=1, reduction_factor=2),
    "patient": PatientPruner(MedianPruner(n_startup_trials=1), patience=1),
}


def bowl(point):
    return (point["a"] - 0.3) ** 2 + (point["b"] - 0.6) ** 2


def trained(point):
    for epoch in range(1, 10):
        point.report(bowl(point) * (1 + np.cos(7 * point["a"] + epoch) / 3) + 1 / epoch, epoch)
    return bowl(point)


def asked_and_told(kind, seed, trials):
    """By hand: before each proposal a new sampler in a new study, with all trials before it."""
    found = []
    for slot in range(trials):
        study = optuna.create_study(sampler=SAMPLERS[kind](seed=seed * 1_000_003 + slot))
        study.add_trials(found)
        trial = study.ask({name: optuna.distributions.FloatDistribution(*BOUNDS[name]) for name in BOUNDS})
        found.append(create_trial(params=trial.params, distributions=trial.distributions, value=bowl(trial.params)))
    return [trial.params for trial in found]


@pytest.mark.parametrize("kind", ["tpe", "gp", "random"])
def test_proposals_are_those_of_the_sampler_with_the_trials_before_it(kind):
    study = getattr(search, kind)(bowl, BOUNDS, trials=14, seed=3)
    assert [trial.params for trial in search.trials(study)] == asked_and_told(kind, 3, 14)


@pytest.mark.skipif(optuna.__version__ != "5.0.0", reason="the numbers are of Optuna 5.0.0")
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("kind", ["tpe", "gp", "random"])
def test_proposals_do_not_change_from_release_to_release(kind, seed):
    kept = json.loads(Path(__file__).with_name("proposals.json").read_text())[f"{kind}-{seed}"]
    study = getattr(search, kind)(bowl, BOUNDS, trials=12, seed=seed)
    found = [list(trial.params.values()) for trial in search.trials(study)]
    tolerance = 1e-3 if kind == "gp" else 1e-12  # that of its optimiser on another processor
    np.testing.assert_allclose(found, kept, atol=tolerance, rtol=0)


def answered(plan, order):
    """The plan to its end, each round in an order of its own."""
    while asked := list(plan.start()):
        assert plan.start() == [], "while values are waited for"
        order.shuffle(asked)
        for one in asked:
            plan.finish(one, search.Evaluated(bowl(one.params), 0.0))
    return [(trial.params, trial.value) for trial in search.trials(plan.study)]


@pytest.mark.parametrize("kind", ["tpe", "gp", "random"])
def test_the_order_of_values_does_not_matter(kind):
    found = [
        answered(getattr(search.asking, kind)(BOUNDS, trials=18, parallel=4, seed=1), np.random.default_rng(seed))
        for seed in range(3)
    ]
    assert len(found[0]) == 18
    assert found[0] == found[1] == found[2]
    assert found[0] != answered(
        getattr(search.asking, kind)(BOUNDS, trials=18, parallel=4, seed=2), np.random.default_rng(0)
    )


@pytest.mark.parametrize(("kind", "n"), [("tpe", 60), ("gp", 24)])
def test_points_of_a_round_differ_and_later_rounds_learn(kind, n):
    trials = answered(getattr(search.asking, kind)(BOUNDS, trials=n, parallel=4), np.random.default_rng(0))
    points = np.array([list(params.values()) for params, _ in trials])
    for first in range(0, n, 4):
        apart = np.abs(points[first : first + 4, None] - points[None, first : first + 4]).max(-1)
        assert apart[~np.eye(4, dtype=bool)].min() > 1e-4
    values = np.array([value for _, value in trials])
    assert np.median(values[-n // 3 :]) < np.median(values[:12]) / 4


@pytest.mark.parametrize("fail_at", [5, 6, 10, 13])
@pytest.mark.parametrize("kind", ["tpe", "gp"])
def test_an_interruption_within_a_round_changes_nothing(tmp_path, kind, fail_at):
    def interrupted(point):
        if len(calls) == fail_at:
            raise KeyboardInterrupt
        calls.append(point)
        return bowl(point)

    calls, run = [], getattr(search, kind)
    whole = run(bowl, BOUNDS, trials=16, parallel=3, seed=5)
    with pytest.raises(KeyboardInterrupt):
        run(interrupted, BOUNDS, tmp_path / "log", trials=14, parallel=3, seed=5)
    again = run(bowl, BOUNDS, tmp_path / "log", trials=16, parallel=3, seed=5)
    assert [t.params for t in search.trials(again)] == [t.params for t in search.trials(whole)]
    with pytest.raises(ValueError, match="has other settings: parallel was 3, now 2"):
        run(bowl, BOUNDS, tmp_path / "log", trials=16, parallel=2, seed=5)


def test_a_warm_start_belongs_to_its_round(tmp_path):
    def rest(path, stop):
        plan = search.asking.tpe(BOUNDS, path, trials=12, parallel=3)
        while asked := plan.start():
            for one in reversed(asked):
                if one.slot == stop:
                    plan.close()
                    return
                plan.finish(one, search.Evaluated(bowl(one.params), 0.0))

    found = []
    for stop in (None, 7, 6):
        path = tmp_path / str(stop)
        study = search.tpe(bowl, BOUNDS, path, trials=6, parallel=3)
        for b in (0.6, 0.7):
            search.warm_start(study, {"a": 0.3, "b": b})
        rest(path, stop)
        found.append([t.params for t in search.trials(search.tpe(bowl, BOUNDS, path, trials=12, parallel=3))])
    assert found[0] == found[1] == found[2]
    assert found[0][6:8] == [{"a": 0.3, "b": 0.6}, {"a": 0.3, "b": 0.7}]


@pytest.mark.parametrize("name", PRUNERS)
def test_a_pruner_decides_as_in_optuna(name):
    def objective(trial):
        point = {name: trial.suggest_float(name, min(values), max(values)) for name, values in SPACE.items()}

        def report(value, epoch):
            trial.report(value, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned

        return trained(search.Point(point, report))

    theirs = optuna.create_study(study_name="grid", pruner=copy.deepcopy(PRUNERS[name]))  # it may remember
    for a in SPACE["a"]:
        for b in SPACE["b"]:
            theirs.enqueue_trial({"a": a, "b": b})
    theirs.optimize(objective, n_trials=12)
    ours = search.grid(trained, SPACE, pruner=PRUNERS[name])
    found = [(t.state, t.last_step, t.value) for t in search.trials(ours)]
    assert found == [(t.state, t.last_step, t.value) for t in theirs.trials]
    assert {state for state, _, _ in found} == {TrialState.COMPLETE, TrialState.PRUNED}


@pytest.mark.parametrize("name", PRUNERS)
def test_a_pruner_decides_the_same_elsewhere_and_after_an_interruption(tmp_path, name):
    def interrupted(point):
        if len(calls) == 7:
            raise KeyboardInterrupt
        calls.append(point)
        return trained(point)

    calls = []
    options = {"pruner": PRUNERS[name], "parallel": 3}
    on = 2 if name == "halving" else None
    with pytest.raises(KeyboardInterrupt):
        search.grid(interrupted, SPACE, tmp_path / "log", **options)
    found = [
        [(t.state, t.intermediate_values, t.value) for t in search.trials(study)]
        for study in (
            search.grid(trained, SPACE, **options),
            search.grid(trained, SPACE, tmp_path / "log", **options),
            search.grid(trained, SPACE, on=on, **options),
        )
    ]
    assert found[0] == found[1] == found[2]


class OddNumbers(BasePruner):
    """Ends every trial with an odd number, and remembers what it saw."""

    def __init__(self):
        self.seen = []

    def prune(self, study, trial):
        self.seen.append(trial.number)
        return trial.number % 2 == 1


def test_a_pruner_sees_the_place_in_the_search_and_is_left_as_it_was():
    pruner = OddNumbers()
    study = search.grid(trained, SPACE, pruner=pruner, parallel=5)
    pruned = [trial.user_attrs["slot"] for trial in search.trials(study) if trial.state is TrialState.PRUNED]
    assert pruned == [1, 3, 5, 7, 9, 11]
    assert pruner.seen == []
