"""Jobs on a Dask cluster whose parts die: at the end each has exactly one result."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import dask
import pytest
import torch
from distributed import Client, LocalCluster

from bilevel_hpo.jobs import WorkersLostError, _dask, drive, workers
from tests.engine import jobs_plan
from tests.engine.dask_cluster import DaskCluster
from tests.engine.jobs_plan import Attempts, Flat, until


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    with DaskCluster(tmp_path_factory.mktemp("dask"), workers=4) as running:
        yield running


def test_a_killed_worker_costs_its_job_an_attempt_and_nothing_else(cluster, tmp_path):
    attempts, data = Attempts(tmp_path), torch.arange(8.0)

    def job(number):
        if attempts.begin(number) == 1 and number == 2:
            threading.Event().wait()
        assert torch.get_num_threads() == 1
        return data[number].item() ** 2

    def kill():
        until(lambda: attempts.count(2) == 1 and attempts.count(7) == 1)
        os.kill(attempts.processes(2)[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    plan = Flat(range(8))
    with workers(job, cluster.address) as started:
        drive([plan], started)
    killer.join()
    assert plan.results == {number: number**2 for number in range(8)}
    assert [attempts.count(number) for number in range(8)] == [1, 1, 2, 1, 1, 1, 1, 1]


def test_a_scheduler_may_go_and_come_back(cluster, tmp_path, caplog):
    attempts, back = Attempts(tmp_path), tmp_path / "back"

    def job(number):
        if attempts.begin(number) and number >= 3:
            until(back.exists)
        return number**2

    plan = Flat(range(8))

    def restart():
        until(lambda: len(plan.results) == 3 and sum(attempts.count(number) for number in range(3, 8)) == 4)
        cluster.kill_scheduler()
        until(lambda: "is away" in caplog.text)
        back.touch()
        cluster.start_scheduler()

    restarter = threading.Thread(target=restart)
    restarter.start()
    with workers(job, cluster.address) as started:
        drive([plan], started)
    restarter.join()
    assert plan.results == {number: number**2 for number in range(8)}
    assert [attempts.count(number) for number in range(3)] == [1, 1, 1], "a result that is there is not computed again"
    assert caplog.text.count("is away") == 1


def test_a_killed_driver_goes_on_where_it_was(cluster, tmp_path):
    command = [sys.executable, jobs_plan.__file__, str(tmp_path), cluster.address]
    results, attempts = tmp_path / "results", Attempts(tmp_path / "attempts")
    driver = subprocess.Popen(command)
    until(lambda: len(list(results.glob("*"))) == 7)
    driver.kill()
    driver.wait()
    assert {path.name for path in results.iterdir()} == set("0123467")
    (tmp_path / "go").touch()
    subprocess.run(command, check=True, timeout=120)
    assert {path.name: path.read_text() for path in results.iterdir()} == {str(n): str(n**2) for n in range(8)}
    assert [attempts.count(number) for number in range(8)] == [1, 1, 1, 1, 1, 2, 1, 1]


def test_an_error_comes_with_its_traceback_there(cluster):
    def job(number):
        if number == 3:
            raise FileNotFoundError("no such molecule")
        return number

    plan = Flat(range(8))
    with pytest.raises(FileNotFoundError, match="no such molecule") as caught, workers(job, cluster.address) as started:
        drive([plan], started)
    assert "test_jobs_dask.py" in str(caught.value.__cause__)
    assert 'raise FileNotFoundError("no such molecule")' in str(caught.value.__cause__)
    assert 3 not in plan.results


def test_a_job_that_kills_every_worker_is_named(cluster):
    def job(name):
        if name == "large":
            os.kill(os.getpid(), signal.SIGKILL)
        return name

    plan = Flat(["small", "large"])
    match = r"the worker died in each of 2 attempts at job 'large', perhaps for lack of memory"
    with pytest.raises(WorkersLostError, match=match), workers(job, cluster.address) as started:
        drive([plan], started)


def test_a_function_that_workers_cannot_import_says_so(cluster, tmp_path, monkeypatch):
    (tmp_path / "only_here.py").write_text("def job(number):\n    return number\n")
    monkeypatch.syspath_prepend(tmp_path)
    import only_here

    match = "the function of the jobs cannot be unpickled on .*: ModuleNotFoundError: No module named 'only_here'"
    with pytest.raises(RuntimeError, match=match), workers(only_here.job, cluster.address) as started:
        drive([Flat([1])], started)


def test_two_jobs_in_one_process_would_share_random_numbers(tmp_path):
    def job(number):
        until((tmp_path / "go").exists)

    threads = LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0")
    with threads as local, Client(local) as client:
        with pytest.raises(RuntimeError, match="share torch's random numbers"), workers(job, client) as started:
            drive([Flat(range(2))], started)
        (tmp_path / "go").touch()


def test_the_first_plan_goes_first_where_jobs_queue(tmp_path):
    def job(number):
        until((tmp_path / "go").exists)

    order = []
    one = LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0")
    with one as local, Client(local) as client, workers(job, client) as started:
        futures = {number: started.submit(number, place=0 if number == 20 else 1) for number in range(21)}
        for number, future in futures.items():
            future.add_done_callback(lambda _, number=number: order.append(number))
        until(lambda: len(local.scheduler.tasks) == 21)
        (tmp_path / "go").touch()
        until(lambda: len(order) == 21)
    assert order.index(20) <= 2, "only jobs that were at the worker before it may go before it"


def test_a_scheduler_that_stays_away_ends_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(_dask, "_PATIENCE", 1)

    def job(number):
        (tmp_path / "began").touch()
        until((tmp_path / "go").exists)

    with DaskCluster(tmp_path, workers=1) as cluster:

        def kill():
            until((tmp_path / "began").exists)
            cluster.kill_scheduler()

        killer = threading.Thread(target=kill)
        killer.start()
        match = f"the Dask scheduler at {cluster.address} has been away for 1 seconds"
        with pytest.raises(WorkersLostError, match=match), workers(job, cluster.address) as started:
            drive([Flat(range(2))], started)
        killer.join()


def test_no_scheduler_at_the_address():
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "100ms"}),
        pytest.raises(OSError, match=r"tcp://127\.0\.0\.1:1 "),
        workers(abs, "tcp://127.0.0.1:1"),
    ):
        pass


def test_without_dask_the_extra_is_named(monkeypatch):
    monkeypatch.delitem(sys.modules, "bilevel_hpo.jobs._dask")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match=r"pip install 'bilevel-hpo\[dask\]'"), workers(abs, "tcp://127.0.0.1:1"):
        pass
