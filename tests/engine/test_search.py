"""Grid and TPE: every point once, and the same table after an interruption."""

import math

import optuna
import pytest
from optuna.trial import TrialState

from bilevel_hpo import search

optuna.logging.set_verbosity(optuna.logging.ERROR)
SPACE = {"b": [0.5, 0.0, 1.0], "a": [0.1, 0.2], "c": [0.3]}
BOUNDS = {"a": (0.0, 1.0), "b": (-1.0, 2.0)}


class Objective:
    """A bowl that remembers its calls and can fail at one of them."""

    def __init__(self, fail_at=None):
        self.calls, self.fail_at = [], fail_at

    def __call__(self, lambda_):
        if len(self.calls) == self.fail_at:
            raise KeyboardInterrupt
        self.calls.append(dict(lambda_))
        return sum((value - 0.15) ** 2 for value in lambda_.values())


def table(study):
    done = [t for t in study.trials if t.state is TrialState.COMPLETE]
    return [(t.params, t.value) for t in done]


def test_a_grid_evaluates_every_point_once():
    objective = Objective()
    study = search.grid(objective, SPACE)
    points = [{"b": b, "a": a, "c": 0.3} for b in SPACE["b"] for a in SPACE["a"]]
    assert objective.calls == points
    assert [params for params, _ in table(study)] == points
    assert [value for _, value in table(study)] == [Objective()(point) for point in points]
    assert study.best_params["b"] == 0.0


@pytest.mark.parametrize("fail_at", [0, 3, 5])
def test_an_interrupted_grid_goes_on_to_the_same_table(tmp_path, fail_at):
    objective = Objective(fail_at)
    with pytest.raises(KeyboardInterrupt):
        search.grid(objective, SPACE, tmp_path / "new" / "grid.log")
    rest = Objective()
    study = search.grid(rest, SPACE, tmp_path / "new" / "grid.log")
    assert len(objective.calls) + len(rest.calls) == 6
    assert table(study) == table(search.grid(Objective(), SPACE))
    again = Objective()
    assert table(search.grid(again, SPACE, tmp_path / "new" / "grid.log")) == table(study)
    assert again.calls == []


@pytest.mark.parametrize("fail_at", [0, 4, 14])
def test_an_interrupted_tpe_proposes_the_same_trials_to_the_bit(tmp_path, fail_at):
    with pytest.raises(KeyboardInterrupt):
        search.tpe(Objective(fail_at), BOUNDS, tmp_path / "tpe.log", trials=16, seed=3)
    study = search.tpe(Objective(), BOUNDS, str(tmp_path / "tpe.log"), trials=16, seed=3)
    assert table(study) == table(search.tpe(Objective(), BOUNDS, trials=16, seed=3))
    for params, _ in table(study):
        assert all(BOUNDS[key][0] <= value <= BOUNDS[key][1] for key, value in params.items())
    assert table(search.tpe(Objective(), BOUNDS, trials=16, seed=4)) != table(study)


def killed(path, name, search_, **options):
    """The storage as a process leaves it that was killed in its third evaluation, with a trial nobody signed."""
    with pytest.raises(KeyboardInterrupt):
        search_(Objective(2), storage=path, **options)
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
    study = optuna.load_study(study_name=name, storage=storage)
    study.ask()
    if name == "grid":  # has its own points and takes no others
        study.enqueue_trial({"a": 0.1, "b": 0.5, "c": 0.3})


@pytest.mark.parametrize(
    ("name", "options"),
    [("grid", {"space": SPACE}), ("tpe", {"space": BOUNDS, "trials": 12})],
)
def test_what_a_killed_process_left_is_evaluated_again(tmp_path, name, options):
    search_ = getattr(search, name)
    killed(tmp_path / "log", name, search_, **options)
    rest = Objective()
    study = search_(rest, storage=tmp_path / "log", **options)
    assert table(study) == table(search_(Objective(), **options))
    assert [params for params, _ in table(study)][2:] == rest.calls
    assert not [t for t in study.trials if t.state in (TrialState.RUNNING, TrialState.WAITING)]


def test_more_trials_may_be_asked_for_later(tmp_path):
    search.tpe(Objective(), BOUNDS, tmp_path / "log", trials=5)
    study = search.tpe(Objective(), BOUNDS, tmp_path / "log", trials=8)
    assert table(study) == table(search.tpe(Objective(), BOUNDS, trials=8))


def test_another_question_in_the_same_file_is_refused(tmp_path):
    search.grid(Objective(), SPACE, tmp_path / "log")
    with pytest.raises(ValueError, match=r"study 'grid'.*another file"):
        search.grid(Objective(), {**SPACE, "a": [0.1, 0.3]}, tmp_path / "log")
    search.tpe(Objective(), BOUNDS, tmp_path / "log", trials=1)
    for space, seed in ((BOUNDS, 1), ({**BOUNDS, "a": (0.0, 2.0)}, 0)):
        with pytest.raises(ValueError, match=r"study 'tpe'.*another file"):
            search.tpe(Objective(), space, tmp_path / "log", trials=2, seed=seed)


@pytest.mark.parametrize("seed", [0, 5000, 2**31])
def test_any_seed(seed):
    assert len(table(search.tpe(Objective(), BOUNDS, trials=2, seed=seed))) == 2


def test_an_objective_that_is_not_a_number_is_the_worst():
    values = iter([1.0, math.nan, 2.0, 3.0, 4.0, 5.0])
    study = search.grid(lambda _: next(values), SPACE)
    assert [value for _, value in table(study)] == [1.0, math.inf, 2.0, 3.0, 4.0, 5.0]
    study = search.tpe(lambda lambda_: math.nan if lambda_["a"] < 0.5 else lambda_["a"], BOUNDS, trials=14)
    assert len(table(study)) == 14
    assert study.best_value >= 0.5


def test_record_puts_a_learned_lambda_beside_the_trials(tmp_path):
    study = search.grid(Objective(), SPACE, tmp_path / "log")
    trial = search.record(study, {"a": 0.15, "b": 7.0, "c": 0.3}, 0.01, epoch=9)
    assert trial.params == {"a": 0.15, "b": 7.0, "c": 0.3}
    assert (trial.value, trial.state) == (0.01, TrialState.COMPLETE)
    assert trial.user_attrs == {"learned": True, "epoch": 9}
    assert len(study.trials) == 7
    again = Objective()
    search.grid(again, SPACE, tmp_path / "log")
    assert again.calls == []


def test_a_recorded_point_of_the_grid_is_still_evaluated(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        search.grid(Objective(1), SPACE, tmp_path / "log")
    study = search.grid(Objective(), {"a": [0.0]}, name="other")
    search.record(study, {"a": 0.0}, 1.0)
    assert len(table(study)) == 2


def test_tpe_goes_on_beside_a_recorded_lambda():
    storage = optuna.storages.InMemoryStorage()
    study = search.tpe(Objective(), BOUNDS, storage, trials=11)
    search.record(study, {"a": 0.15, "b": 5.0}, 0.0)
    assert len(search.tpe(Objective(), BOUNDS, storage, trials=14).trials) == 15


def test_of_equal_values_the_first_point_wins_in_whichever_order_they_were_evaluated(tmp_path):
    plan = search.asking.grid({"a": [2.0, 0.0, 1.0]}, tmp_path / "log")
    for one in reversed(plan.start()):
        plan.finish(one, search.Evaluated(5.0, 0.1))
    assert [trial.params["a"] for trial in plan.study.trials] == [1.0, 0.0, 2.0]
    assert search.best(plan.study).params == {"a": 2.0}


def test_callbacks_see_every_trial():
    seen = []
    search.grid(Objective(), SPACE, callbacks=[lambda study, trial: seen.append((trial.number, trial.value))])
    assert [number for number, _ in seen] == list(range(6))
    assert all(value is not None for _, value in seen)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({}, "space must be .*; it is empty"),
        ({"a": []}, r"space\['a'\] must have at least one value, .*; got \(\)"),
        ({"a": [0.1, 0.1]}, "each once"),
    ],
)
def test_a_bad_grid_is_named(space, message):
    with pytest.raises(ValueError, match=message):
        search.grid(Objective(), space)


@pytest.mark.parametrize("bounds", [(1.0, 0.0), (0.0, 0.5, 1.0), (0.5,)])
def test_bad_bounds_are_named(bounds):
    with pytest.raises(ValueError, match=r"space\['a'\] must be .*low < high"):
        search.tpe(Objective(), {"a": bounds}, trials=1)
