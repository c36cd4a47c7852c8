"""Storages that go away, files that are damaged, and second drivers: each made to happen, in one process."""

import subprocess
import sys

import optuna
import pytest
from optuna.storages import InMemoryStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from sqlalchemy.exc import OperationalError

from bilevel_hpo import search
from bilevel_hpo.search import _storage
from bilevel_hpo.search._storage import patiently

SPACE = {"a": [0.0, 0.5, 1.0]}
BOUNDS = {"a": (0.0, 1.0)}
METHODS = ("create_new_trial", "get_all_trials", "set_study_user_attr", "get_study_user_attrs", "create_new_study")


def square(point):
    point.report(1.0, 1)
    return point["a"] ** 2


class Flaky(InMemoryStorage):
    """Carries out a call, and then says that it was away; the first `times` times."""

    def __init__(self, method, times=1):
        super().__init__()
        self.method, self.left = method, times


def _flaky(name):
    def call(self, *arguments, **named):
        result = getattr(InMemoryStorage, name)(self, *arguments, **named)
        if name == self.method and self.left:
            self.left -= 1
            raise OperationalError("SELECT", {}, Exception("server closed the connection"))
        return result

    return call


for _method in METHODS:
    setattr(Flaky, _method, _flaky(_method))


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr("bilevel_hpo.search._storage.time.sleep", lambda seconds: None)


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("method", METHODS)
def test_an_answer_that_is_lost_loses_and_doubles_nothing(method, times):
    storage = Flaky(method, times)
    study = search.grid(square, SPACE, storage)
    assert storage.left < times
    assert [(trial.params["a"], trial.value) for trial in study.trials] == [(0, 0), (0.5, 0.25), (1, 1)]
    assert [trial.last_step for trial in study.trials] == [1, 1, 1]


@pytest.mark.parametrize("method", METHODS)
def test_a_warm_start_survives_an_outage(method):
    storage = Flaky(method, 0)
    study = search.tpe(square, BOUNDS, storage, trials=1)
    search.warm_start(study, {"a": 0.25})
    storage.left = 0 if method == "create_new_study" else 3
    study = search.tpe(square, BOUNDS, storage, trials=4)
    assert storage.left == 0
    assert [trial.params["a"] == 0.25 for trial in study.trials] == [False, True, False, False]


def test_a_storage_that_stays_away_ends_the_search_with_a_message(monkeypatch, caplog):
    monkeypatch.setattr(_storage, "PATIENCE", 0.0)
    with pytest.raises(TimeoutError, match="did not answer"):
        search.grid(square, SPACE, Flaky("get_all_trials", times=10**6))
    assert "server closed the connection" in caplog.text


def test_other_errors_are_not_repeated():
    calls = []

    def call():
        calls.append(1)
        raise KeyError("x")

    with pytest.raises(KeyError):
        patiently(call)
    assert len(calls) == 1


def test_the_later_of_two_drivers_takes_the_study_over():
    storage, later = InMemoryStorage(), []

    def objective(point):
        if point["a"] == 0.5 and not later:
            later.append(search.grid(square, SPACE, storage))
        return point["a"] ** 2

    with pytest.raises(ValueError, match="study 'grid' was taken over by another process"):
        search.grid(objective, SPACE, storage)
    assert [(trial.params["a"], trial.value) for trial in later[0].trials] == [(0, 0), (0.5, 0.25), (1, 1)]


def test_a_journal_is_free_again_after_a_search_and_after_an_error(tmp_path):
    def is_free():
        code = "import sys, filelock; filelock.FileLock(sys.argv[1] + '.driver', timeout=0).acquire()"
        done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "log")], check=False, capture_output=True)
        assert done.returncode == 0 or b"Timeout" in done.stderr
        return done.returncode == 0

    (tmp_path / "link").symlink_to(tmp_path / "log")
    plan = search.asking.grid(SPACE, tmp_path / "link")
    plan.start()
    assert not is_free()
    other = search.tpe(square, BOUNDS, tmp_path / "log", trials=1)
    assert len(other.trials) == 1, "searches of one process share a file"
    assert not is_free(), "the end of one leaves the other in possession"
    plan.close()
    with pytest.raises(ValueError, match="has other settings"):
        search.grid(square, {"a": [7.0]}, tmp_path / "log")
    assert is_free()


def test_an_incomplete_last_line_is_dropped_and_its_point_evaluated_again(tmp_path, caplog):
    search.grid(square, SPACE, tmp_path / "log")
    whole = (tmp_path / "log").read_bytes()
    (tmp_path / "log").write_bytes(whole[:-20])
    calls = []
    study = search.grid(lambda point: calls.append(point["a"]) or point["a"] ** 2, SPACE, tmp_path / "log")
    assert calls == [1.0]
    lines = len(whole.splitlines())
    assert f"its last line, {lines}, is incomplete" in caplog.text
    assert [trial.value for trial in search.trials(study)] == [0.0, 0.25, 1.0]
    again = optuna.load_study(study_name="grid", storage=JournalStorage(JournalFileBackend(str(tmp_path / "log"))))
    assert [trial.value for trial in again.trials] == [0.0, 0.25, 1.0]


@pytest.mark.parametrize("damage", [b"{]\n", b"\0\0\0\n", b"12\n"])
def test_a_damaged_line_is_named(tmp_path, damage):
    search.grid(square, SPACE, tmp_path / "log")
    lines = (tmp_path / "log").read_bytes().splitlines(keepends=True)
    (tmp_path / "log").write_bytes(b"".join([*lines[:4], damage, *lines[4:]]))
    with pytest.raises(ValueError, match=r"storage .*log, line 5: .*not a record of an Optuna journal"):
        search.grid(square, SPACE, tmp_path / "log")


def test_another_file_is_left_as_it_is(tmp_path):
    (tmp_path / "notes.txt").write_text("my notes\nof today")
    with pytest.raises(ValueError, match=r"notes\.txt, line 1: b'my notes"):
        search.grid(square, SPACE, tmp_path / "notes.txt")
    assert (tmp_path / "notes.txt").read_text() == "my notes\nof today"


def test_what_others_left_unfinished_fails():
    study = optuna.create_study(study_name="grid", storage=(storage := InMemoryStorage()))
    study.ask()
    study.enqueue_trial({"a": 0.5})
    study = search.grid(square, SPACE, storage)
    assert [trial.state for trial in study.trials] == [TrialState.FAIL] * 2 + [TrialState.COMPLETE] * 3


def test_who_finishes():
    study = search.grid(square, SPACE)
    with pytest.warns(DeprecationWarning, match="is_ours_to_finish is always True"):
        assert search.is_ours_to_finish(study)


def test_passwords_are_not_shown():
    assert search.without_password("runs/study.journal") == "runs/study.journal"
    shown = search.without_password("postgresql://me:p%40ss@host:5432/db?password=p%40ss")
    assert shown == "postgresql+psycopg://me:***@host:5432/db"
    with pytest.raises(ValueError, match="storage must be a URL") as raised:
        search.grid(square, SPACE, "postgresql://me:secret@host:port/db")
    assert "secret" not in str(raised.value)
