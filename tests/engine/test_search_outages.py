"""Claims that collide, workers that die, storages that go away: each made to happen, in one process."""

import os
import platform
import subprocess
import sys

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState, create_trial
from sqlalchemy.exc import OperationalError

from bilevel_hpo import search
from bilevel_hpo.search import _storage, _worker
from bilevel_hpo.search._storage import patiently

SPACE = {"a": [0.0, 0.5, 1.0]}


def claim(study, slot, worker):
    """A running trial as another process writes it."""
    study.add_trial(
        create_trial(
            state=TrialState.RUNNING,
            params={"a": SPACE["a"][slot]},
            distributions={"a": FloatDistribution(0.0, 1.0)},
            user_attrs={"slot": slot, "worker": worker},
        )
    )


def away():
    return OperationalError("SELECT", {}, Exception("server closed the connection"))


class Flaky(InMemoryStorage):
    """Carries out a call, and then says once that it was away."""

    def __init__(self, method, times=1):
        super().__init__()
        self.method, self.left = method, times

    def _after(self, method, result):
        if method == self.method and self.left:
            self.left -= 1
            raise away()
        return result

    def create_new_trial(self, *arguments, **named):
        return self._after("create", super().create_new_trial(*arguments, **named))

    def set_trial_state_values(self, *arguments, **named):
        return self._after("finish", super().set_trial_state_values(*arguments, **named))

    def set_trial_intermediate_value(self, *arguments, **named):
        return self._after("report", super().set_trial_intermediate_value(*arguments, **named))

    def get_all_trials(self, *arguments, **named):
        return self._after("read", super().get_all_trials(*arguments, **named))


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(_storage.time, "sleep", lambda seconds: None)


@pytest.mark.parametrize("method", ["create", "finish", "report", "read"])
def test_an_answer_that_is_lost_loses_and_doubles_nothing(method):
    def objective(point):
        point.report(1.0, 1)
        return point["a"]

    study = search.grid(objective, SPACE, Flaky(method, times=3))
    assert [(trial.params["a"], trial.value) for trial in search.trials(study)] == [(0, 0), (0.5, 0.5), (1, 1)]
    assert not study.get_trials(states=(TrialState.RUNNING,))


def test_a_storage_that_stays_away_ends_the_search_with_a_message(monkeypatch, caplog):
    monkeypatch.setattr(_storage, "PATIENCE", 0.0)
    with pytest.raises(TimeoutError, match="did not answer"):
        search.grid(lambda point: 0.0, SPACE, Flaky("read", times=10**6))
    assert "server closed the connection" in caplog.text


def test_other_errors_are_not_repeated():
    calls = []

    def call():
        calls.append(1)
        raise KeyError("x")

    with pytest.raises(KeyError):
        patiently(call)
    assert len(calls) == 1


def test_of_two_claims_of_one_point_the_earlier_holds(monkeypatch):
    """Another worker claims the first point between this one's look and its claim."""
    storage = InMemoryStorage()
    create, calls = storage.create_new_trial, []

    def overtaken(study_id, template_trial=None):
        if not calls:
            calls.append(1)
            claim(optuna.load_study(study_name="grid", storage=storage), 0, other)
        return create(study_id, template_trial)

    def objective(point):
        study = optuna.load_study(study_name="grid", storage=storage)
        if point["a"] == 0.5:  # meanwhile the other finishes
            study.tell(0, -1.0)
        return point["a"]

    other = f"elsewhere:1:1:{'0' * 12}"
    monkeypatch.setattr(storage, "create_new_trial", overtaken)
    study = search.grid(objective, SPACE, storage)
    assert [trial.value for trial in search.trials(study)] == [-1.0, 0.5, 1.0]
    assert len([trial for trial in study.trials if trial.state is TrialState.FAIL]) == 1


def test_a_worker_on_another_host_is_given_up_when_its_beat_stops(monkeypatch):
    study = optuna.create_study(study_name="grid", storage=(storage := InMemoryStorage()))
    claim(study, 1, "elsewhere:1:1:x")
    now, beats = [0.0], []

    def later(seconds):
        now[0] += 10.0
        if len(beats) < 20:  # 200 s of life, longer than grace
            beats.append(now[0])
            study._storage.set_trial_user_attr(study.trials[0]._trial_id, "beat", len(beats))

    monkeypatch.setattr(_worker.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(_worker.time, "sleep", later)
    order = []
    search.grid(lambda point: order.append((point["a"], now[0])) or point["a"], SPACE, storage, grace=60.0)
    assert [a for a, _ in order] == [0.0, 1.0, 0.5]
    assert beats[-1] + 60 < order[-1][1] <= beats[-1] + 90


def test_a_dead_worker_on_this_host_is_known_at_once():
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    host = platform.node()
    for worker in (f"{host}:{process.pid}:1:x", f"{host}:{os.getpid()}:{_worker._begun(os.getpid())}:x"):
        study = optuna.create_study(study_name="grid", storage=(storage := InMemoryStorage()))
        claim(study, 1, worker)
        assert len(search.trials(search.grid(lambda point: point["a"], SPACE, storage))) == 3
        assert study.trials[0].state is TrialState.FAIL
    assert not _worker.has_ended(f"{host}:{os.getppid()}:{_worker._begun(os.getppid())}:x")
    assert _worker.has_ended(f"{host}:{os.getppid()}:1:x"), "its process id, of a process that began at another time"


def test_a_worker_that_was_given_up_drops_its_value():
    storage = InMemoryStorage()

    def objective(point):
        calls.append(point["a"])
        if len(calls) == 1:
            optuna.load_study(study_name="grid", storage=storage).tell(0, state=TrialState.FAIL)
            point.report(0.0, 1)
            raise AssertionError("it is not wanted any more")
        return point["a"]

    calls = []
    study = search.grid(objective, SPACE, storage)
    assert calls == [0.0, 0.0, 0.5, 1.0]
    assert [trial.value for trial in search.trials(study)] == [0.0, 0.5, 1.0]


def test_a_population_member_that_was_given_up_costs_the_others_nothing():
    storage, seen = InMemoryStorage(), []

    def objective(points):
        seen.append([point["a"] for point in points])
        if len(seen) == 1:
            optuna.load_study(study_name="grid", storage=storage).tell(1, state=TrialState.FAIL)
            points[1].report(0.0, 1)
        return [point["a"] for point in points]

    study = search.grid(objective, SPACE, storage, population=3)
    assert seen == [[0.0, 0.5, 1.0], [0.5]]
    assert [trial.value for trial in search.trials(study)] == [0.0, 0.5, 1.0]


def test_who_finishes():
    study = search.grid(lambda point: point["a"], SPACE)
    assert search.is_ours_to_finish(study)
    for worker, ours in ((f"elsewhere:1:1:{'0' * 12}", False), (f"{platform.node()}:{os.getpid()}:1:x", True)):
        study.add_trial(create_trial(value=0.0, user_attrs={"slot": 9, "worker": worker}))
        assert search.is_ours_to_finish(study) is ours


def test_passwords_are_not_shown():
    assert search.without_password("runs/study.journal") == "runs/study.journal"
    shown = search.without_password("postgresql://me:p%40ss@host:5432/db?password=p%40ss")
    assert shown == "postgresql+psycopg://me:***@host:5432/db"
    with pytest.raises(ValueError, match="not a URL") as raised:
        search.grid(lambda point: 0.0, SPACE, "postgresql://me:secret@host:port/db")
    assert "secret" not in str(raised.value)
