"""What `drive` asks for and keeps; jobs in this process and on executors of the user's."""

import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest

from bilevel_hpo.jobs import Workers, WorkersLostError, drive, workers
from tests.engine.jobs_plan import Attempts, Flat, until


class Chain:
    """Each job depends on the result before it."""

    def __init__(self, first, length):
        self.jobs, self.left, self.results = [first], length, []

    def start(self):
        jobs, self.jobs = self.jobs, []
        return jobs

    def finish(self, job, result):
        self.results.append(result)
        self.left -= 1
        if self.left:
            self.jobs = [result]


class ByHand(Workers[Any, Any]):
    """The test says which jobs end, and how."""

    def __init__(self, slots):
        self.slots, self.submitted, self.futures, self.lost = slots, [], {}, set()

    def submit(self, job, place):
        self.submitted.append(job)
        self.futures[job] = Future()
        self.on_submit(job)
        return self.futures[job]

    def again(self, future):
        if future in self.lost:
            (job,) = [job for job, known in self.futures.items() if known is future]
            return self.submit(job, 0)
        return None

    def on_submit(self, job):
        pass


def test_plans_are_driven_until_none_has_a_job_left():
    plans, ended = [Chain(2, 4), Flat([3, 5]), Flat([])], []
    with workers(lambda number: number**2) as here:
        drive(plans, here, ended.append)
    assert plans[0].results == [4, 16, 256, 65536]  # type: ignore[attr-defined]
    assert plans[1].results == {3: 9, 5: 25}  # type: ignore[attr-defined]
    assert Counter(ended) == Counter([2, 4, 16, 256, 3, 5])


def test_what_the_first_plan_asks_for_late_goes_before_what_waits():
    class AtOnce(ByHand):
        def on_submit(self, job):
            self.futures[job].set_result(job + 1)

    for slots, order in ((1, [0, 1, 2, 100, 101, 102]), (2, [0, 100, 1, 101, 2, 102])):
        at_once = AtOnce(slots)
        drive([Chain(0, 3), Flat([100, 101, 102])], at_once)
        assert at_once.submitted == order


def test_results_that_come_with_an_error_are_kept():
    class Together(ByHand):
        def on_submit(self, job):
            if job == 2:
                self.futures[0].set_exception(OSError("disk"))
                self.futures[1].set_result("one")
                self.futures[2].set_result("two")

    plan, together, ended = Flat(range(5)), Together(3), []
    with pytest.raises(OSError, match="disk"):
        drive([plan], together, ended.append)
    assert plan.results == {1: "one", 2: "two"}
    assert ended == [1, 2]
    assert together.submitted == [0, 1, 2], "nothing is begun after an error"


def test_a_lost_job_is_driven_on():
    class Loses(ByHand):
        def on_submit(self, job):
            if job == 1 and self.submitted.count(1) < 3:
                self.lost.add(self.futures[job])
                self.futures[job].set_exception(RuntimeError("gone"))
            else:
                self.futures[job].set_result(self.submitted.count(job))

    plan, ended = Flat(range(3)), []
    drive([plan], Loses(2), ended.append)
    assert plan.results == {0: 1, 1: 3, 2: 1}
    assert sorted(ended) == [0, 1, 2]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_in_this_process_errors_come_out_as_they_are(error):
    def job(number):
        if number == 1:
            raise error("two")
        return number

    plan = Flat(range(3))
    with pytest.raises(error, match="two"), workers(job, 1) as here:
        drive([plan], here)
    assert plan.results == {0: 0}


@pytest.mark.parametrize(
    "executor",
    [
        pytest.param(lambda: ThreadPoolExecutor(2), id="threads"),
        pytest.param(lambda: ProcessPoolExecutor(2, get_context("spawn")), id="processes"),
    ],
)
def test_an_executor_gets_the_function_once_per_process(executor, tmp_path):
    class Function:
        def __init__(self):
            self.seen = 0

        def __call__(self, number):
            self.seen += 1
            return os.getpid(), self.seen, number**2

    plan, function = Flat(range(9)), Function()
    with executor() as given:
        with workers(function, given) as started:
            drive([plan], started)
        assert given.submit(abs, -1).result() == 1, "it is still the user's"
    assert {job: square for job, (_, _, square) in plan.results.items()} == {job: job**2 for job in range(9)}
    last = {}
    for process, seen, _ in plan.results.values():
        last[process] = max(last.get(process, 0), seen)
    assert sum(last.values()) == 9, "each process counts on in one copy of the function"
    assert function.seen == 0, "a copy: threads change nothing of the user's"


def test_an_error_in_an_executor_lets_no_queued_job_begin(tmp_path):
    attempts = Attempts(tmp_path / "attempts")

    def job(number):
        attempts.begin(number)
        if number == 0:
            raise FloatingPointError("nan")
        until((tmp_path / "go").exists)

    with ThreadPoolExecutor(1) as given:
        with pytest.raises(FloatingPointError), workers(job, given) as started:
            drive([Flat(range(100))], started)
        (tmp_path / "go").touch()
    assert sum(attempts.count(number) for number in range(100)) <= 2, "the thread may have taken the next before"


def test_a_broken_executor_is_named():
    def job(number):
        if number == 1:
            os._exit(1)
        return number

    match = "ProcessPoolExecutor is broken or shut down, job .* has no result.* Results so far are kept"
    with ProcessPoolExecutor(1, get_context("spawn")) as given:
        for jobs in (range(3), [0]):  # the second finds it broken
            with pytest.raises(WorkersLostError, match=match), workers(job, given) as started:
                drive([Flat(jobs)], started)
    with pytest.raises(WorkersLostError, match=match), workers(job, given) as started:
        drive([Flat([0])], started)


def test_an_executor_that_is_shut_down_in_between_is_named(tmp_path):
    class ShutsDown(Flat):
        def finish(self, job, result):
            super().finish(job, result)
            given.shutdown(wait=False, cancel_futures=True)
            (tmp_path / "go").touch()

    def job(number):
        if number > 0:
            until((tmp_path / "go").exists)

    given, plan = ThreadPoolExecutor(1), ShutsDown(range(9))
    match = "ThreadPoolExecutor is broken or shut down, job .* has no result"
    with pytest.raises(WorkersLostError, match=match), workers(job, given) as started:
        drive([plan], started)
    assert 0 in plan.results


@pytest.mark.parametrize(
    ("on", "error", "match"),
    [
        (0, ValueError, "on must be at least one process; got 0"),
        (-1, ValueError, "on must be at least one process; got -1"),
        (True, TypeError, "on must be a number of processes.*; got True"),
        (2.0, TypeError, "on must be a number of processes.*; got 2.0"),
        ("4", ValueError, "on must be the address of a Dask scheduler.*; got '4'"),
    ],
)
def test_on_is_checked(on, error, match):
    with pytest.raises(error, match=match), workers(abs, on):
        pass


def test_a_function_that_cannot_be_sent_says_so():
    lock = get_context("spawn").Lock()

    def job(number):
        return lock

    with pytest.raises(TypeError, match=r"the function of the jobs, .*, cannot be pickled"), workers(job, 2):
        pass


def test_neither_loky_nor_dask_is_imported_before_it_is_wanted():
    code = """
import sys, bilevel_hpo
assert not {"loky", "distributed", "cloudpickle"} & sys.modules.keys()
from bilevel_hpo.jobs import drive, workers
with workers(abs) as here:
    assert here.submit(-1, 0).result() == 1
assert not {"loky", "distributed", "optuna"} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
