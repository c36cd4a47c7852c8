"""Samplers, pruning, budgets of epochs, populations, and what stands in a study beside its search."""

import importlib.util
import math

import optuna
import pytest
from optuna.pruners import MedianPruner, ThresholdPruner
from optuna.trial import TrialState

from bilevel_hpo import search

optuna.logging.set_verbosity(optuna.logging.ERROR)
BOUNDS = {"a": (0.0, 1.0), "b": (-1.0, 2.0)}
SPACE = {"a": [0.0, 0.5, 1.0], "b": [-1.0, 0.0, 2.0]}


def bowl(point):
    return (point["a"] - 0.3) ** 2 + (point["b"] - 0.6) ** 2


def trained(point, epochs=10):
    """Epoch e leaves 1/e above the bowl."""
    for epoch in range(1, epochs + 1):
        point.report(bowl(point) + 1 / epoch, epoch)
    return bowl(point)


@pytest.mark.parametrize("kind", ["tpe", "gp", "random"])
def test_an_interrupted_search_proposes_the_same(tmp_path, kind):
    def interrupted(point):
        if len(calls) == 13:
            raise KeyboardInterrupt
        calls.append(point)
        return bowl(point)

    calls, run = [], getattr(search, kind)
    whole = run(bowl, BOUNDS, trials=16, seed=5)
    with pytest.raises(KeyboardInterrupt):
        run(interrupted, BOUNDS, tmp_path / "log", trials=16, seed=5)
    again = run(bowl, BOUNDS, tmp_path / "log", trials=16, seed=5)
    assert [t.params for t in search.trials(again)] == [t.params for t in search.trials(whole)]
    assert [t.params for t in search.trials(run(bowl, BOUNDS, trials=16, seed=6))] != [
        t.params for t in search.trials(whole)
    ]


def test_tpe_and_gp_learn_from_what_they_found():
    def late(study, n):
        return sum(trial.value for trial in search.trials(study)[-n:]) / n

    drawn = search.random(bowl, BOUNDS, trials=60)
    assert late(search.tpe(bowl, BOUNDS, trials=60), 30) < late(drawn, 30) / 2
    assert late(search.gp(bowl, BOUNDS, trials=16), 3) < late(drawn, 30) / 100


def test_hopeless_runs_are_pruned_and_never_win():
    study = search.grid(trained, SPACE, pruner=ThresholdPruner(upper=1.2, n_warmup_steps=2))
    for trial in search.trials(study):
        pruned = bowl(trial.params) + 1 / 2 > 1.2
        assert (trial.state is TrialState.PRUNED) == pruned
        assert trial.last_step == (2 if pruned else 10)
    assert {t.state for t in search.trials(study)} == {TrialState.PRUNED, TrialState.COMPLETE}
    assert search.best(study).params == {"a": 0.5, "b": 0.0}
    assert len(search.trials(study)) == 9


def test_a_pruned_trial_is_not_the_winner_even_with_the_lowest_value():
    def objective(point):
        point.report(-100.0 if point["a"] == 0.0 else 1.0, 1)
        return 1.0

    study = search.grid(objective, {"a": [0.0, 1.0]}, pruner=ThresholdPruner(lower=-10.0))
    assert [t.state for t in search.trials(study)] == [TrialState.PRUNED, TrialState.COMPLETE]
    assert search.best(study).params == {"a": 1.0}


def test_a_budget_of_epochs_ends_the_search_and_pruning_makes_it_go_further(tmp_path):
    study = search.random(trained, BOUNDS, tmp_path / "log", epochs=95)
    assert len(search.trials(study)) == 10
    assert search.epochs_used(study) == 100
    assert all(trial.last_step == 10 for trial in search.trials(study))
    assert len(search.trials(search.random(trained, BOUNDS, tmp_path / "log", epochs=95))) == 10
    assert len(search.trials(search.random(trained, BOUNDS, tmp_path / "log", epochs=101))) == 11
    pruned = search.random(trained, BOUNDS, epochs=95, pruner=MedianPruner(n_startup_trials=2))
    assert len(search.trials(pruned)) > 10
    assert 95 <= search.epochs_used(pruned) < 105
    assert len(search.trials(search.random(trained, BOUNDS, trials=4, epochs=95))) == 4


def test_a_search_without_an_end_is_refused():
    with pytest.raises(ValueError, match="trials or epochs"):
        search.tpe(bowl, BOUNDS)


def test_epochs_that_are_never_reported_do_not_make_a_search_endless():
    with pytest.raises(ValueError, match=r"report\(value, epoch\)"):
        search.random(bowl, BOUNDS, epochs=10)


def test_a_population_gets_at_most_so_many_points_in_order(tmp_path):
    seen = []

    def objective(points):
        seen.append([dict(point) for point in points])
        points[0].report(7.0, 1)
        if len(seen) == 2 and len(seen[1]) == 4 and interrupt:
            raise KeyboardInterrupt
        return [bowl(point) for point in points]

    interrupt = True
    with pytest.raises(KeyboardInterrupt):
        search.grid(objective, SPACE, tmp_path / "log", population=4)
    interrupt = False
    study = search.grid(objective, SPACE, tmp_path / "log", population=4)
    assert [len(points) for points in seen] == [4, 4, 4, 1]
    assert seen[1] == seen[2]
    single = search.grid(bowl, SPACE)
    assert [(t.params, t.value) for t in search.trials(study)] == [(t.params, t.value) for t in search.trials(single)]
    members = search.trials(study)[:4]
    assert len({search.seconds_of(trial) for trial in members}) == 1
    assert members[0].intermediate_values == {1: 7.0}
    assert members[1].intermediate_values == {}


def test_a_population_answers_for_each_point():
    with pytest.raises(ValueError, match="2 values for a population of 4"):
        search.grid(lambda points: [0.0, 0.0], SPACE, population=4)
    with pytest.raises(ValueError, match="1 with a pruner"):
        search.grid(lambda points: [0.0], SPACE, population=4, pruner=MedianPruner())


def test_a_recorded_lambda_is_never_the_winner_and_does_not_change_the_search():
    storage = optuna.storages.InMemoryStorage()
    study = search.tpe(bowl, BOUNDS, storage, trials=12)
    trial = search.record(
        study,
        {"a": 0.3, "b": 5.0},
        -1.0,
        history=[{"a": 0.1, "b": 1.0}, {"a": 0.3, "b": 5.0}],
        validation=[3.0, -1.0],
        seconds=2.5,
    )
    assert trial.intermediate_values == {1: 3.0, 2: -1.0}
    assert trial.user_attrs["history"] == {"a": [0.1, 0.3], "b": [1.0, 5.0]}
    assert search.seconds_of(trial) == 2.5
    assert trial.distributions["a"] == study.trials[0].distributions["a"]
    assert search.best(study).number != trial.number
    assert study.best_trial.number == trial.number
    more = search.tpe(bowl, BOUNDS, storage, trials=20)
    alone = search.tpe(bowl, BOUNDS, trials=20)
    assert [t.params for t in search.trials(more)] == [t.params for t in search.trials(alone)]


def test_a_warm_start_is_evaluated_next_and_learned_from(tmp_path):
    study = search.tpe(bowl, BOUNDS, tmp_path / "log", trials=11)
    search.warm_start(study, {"a": 0.3, "b": 0.6})
    seen = []

    def interrupted(point):
        seen.append(dict(point))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search.tpe(interrupted, BOUNDS, tmp_path / "log", trials=14)
    study = search.tpe(bowl, BOUNDS, tmp_path / "log", trials=14)
    assert seen == [{"a": 0.3, "b": 0.6}]
    assert search.trials(study)[11].params == {"a": 0.3, "b": 0.6}
    assert len(search.trials(study)) == 14
    assert search.best(study).value == 0.0
    plain = search.tpe(bowl, BOUNDS, trials=14)
    assert search.trials(study)[12].params != search.trials(plain)[12].params


def test_what_optuna_enqueued_between_two_runs_is_a_warm_start_too(tmp_path):
    study = search.random(bowl, BOUNDS, tmp_path / "log", trials=3)
    study.enqueue_trial({"a": 0.3, "b": 0.6})
    study = search.random(bowl, BOUNDS, tmp_path / "log", trials=5)
    assert search.trials(study)[3].params == {"a": 0.3, "b": 0.6}
    assert [t.params for i, t in enumerate(search.trials(study)) if i != 3] == [
        t.params for i, t in enumerate(search.trials(search.random(bowl, BOUNDS, trials=5))) if i != 3
    ]
    study.enqueue_trial({"a": 3.0, "b": 0.6})
    with (
        pytest.warns(UserWarning, match="out of range"),
        pytest.raises(ValueError, match=r"a = 3 is outside \[0, 1\]"),
    ):
        search.random(bowl, BOUNDS, tmp_path / "log", trials=6)
    assert len(search.trials(search.random(bowl, BOUNDS, tmp_path / "log", trials=6))) == 6


def test_warm_starts_come_in_their_order_and_each_once(tmp_path):
    study = search.tpe(bowl, BOUNDS, tmp_path / "log", trials=1)
    for b in (0.0, 1.0, 2.0):
        search.warm_start(study, {"a": 0.5, "b": b})
    study = search.tpe(bowl, BOUNDS, tmp_path / "log", trials=3)
    study = search.tpe(bowl, BOUNDS, tmp_path / "log", trials=6)
    assert [t.params["b"] for t in search.trials(study)[1:4]] == [0.0, 1.0, 2.0]
    assert 0.5 not in [t.params["a"] for t in search.trials(study)[4:]]


def test_a_warm_start_that_cannot_be_is_refused():
    study = search.tpe(bowl, BOUNDS, trials=1)
    with pytest.raises(ValueError, match=r"b = 7 is outside \[-1, 2\]"):
        search.warm_start(study, {"a": 0.0, "b": 7.0})
    with pytest.raises(ValueError, match="has the names"):
        search.warm_start(study, {"a": 0.0})
    with pytest.raises(ValueError, match="has the names"):
        search.warm_start(search.grid(bowl, SPACE), {"a": 0.0, "b": 0.0})


def test_other_facts_behind_the_values_are_another_question(tmp_path):
    about = {"settings": {"epochs": 10, "lr": 0.1}, "seed": 0}
    search.grid(bowl, SPACE, tmp_path / "log", about=about)
    with pytest.raises(ValueError, match=r"has other settings: about.seed was 0, now 1; use another"):
        search.grid(bowl, SPACE, tmp_path / "log", about=about | {"seed": 1})


@pytest.mark.parametrize("kind", ["grid", "tpe"])
@pytest.mark.parametrize("inside", [True, False])
def test_the_pictures_of_optuna_draw_every_study(kind, inside):
    pictures = optuna.visualization
    study = search.grid(trained, SPACE) if kind == "grid" else search.tpe(trained, BOUNDS, trials=12)
    search.record(study, {"a": 0.3, "b": 0.6 if inside else 9.0}, 0.01, validation=[0.5, 0.01])
    n = len(search.trials(study)) + 1
    assert len(pictures.plot_optimization_history(study).data[0].x) == n
    assert len(pictures.plot_slice(study, params=["a"]).data[0].x) == n
    assert len([line for line in pictures.plot_parallel_coordinate(study).data if line.mode == "lines"]) >= n
    assert len(pictures.plot_intermediate_values(study).data) == n
    assert pictures.plot_contour(study, params=["a", "b"]).data
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    drawn = pictures.plot_param_importances(study, evaluator=evaluator).data[0].y
    assert set(drawn) == {"a", "b"}
    if importlib.util.find_spec("sklearn"):  # the default evaluator needs it
        assert pictures.plot_param_importances(study).data


def test_values_that_are_not_numbers_do_not_stop_a_report():
    def objective(point):
        point.report(math.nan, 1)
        return math.nan

    study = search.grid(objective, SPACE, pruner=ThresholdPruner(upper=1.0))
    assert {trial.state for trial in search.trials(study)} == {TrialState.PRUNED}, "it takes NaN for hopeless"
