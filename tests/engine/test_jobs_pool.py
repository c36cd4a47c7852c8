"""A pool whose processes, or whose driver, are killed."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch
from loky import process_executor

from bilevel_hpo.jobs import WorkersLostError, drive, workers
from tests.engine import jobs_plan
from tests.engine.jobs_plan import Attempts, Flat, until


def lives(process: int) -> bool:
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_processes_of_one_thread_share_the_jobs(tmp_path):
    data, attempts = torch.arange(6.0, dtype=torch.float64), Attempts(tmp_path)

    def job(number):
        attempts.begin(number)
        if number < 2:
            until(lambda: attempts.count(0) == attempts.count(1) == 1)
        deaf = signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])  # to Ctrl-C, from its first moment
        return os.getpid(), torch.get_num_threads(), os.environ["OMP_NUM_THREADS"], deaf, data[number].exp()

    plan = Flat(range(6))
    with workers(job, 2) as pool:
        drive([plan], pool)
    assert {job: result[4].item() for job, result in plan.results.items()} == {
        number: data[number].exp().item() for number in range(6)
    }
    assert {result[1:4] for result in plan.results.values()} == {(1, "1", True)}
    processes = {result[0] for result in plan.results.values()}
    assert len(processes) == 2
    assert os.getpid() not in processes
    assert not any(lives(process) for process in processes)


def test_a_killed_process_costs_its_job_an_attempt_and_nothing_else(tmp_path, caplog):
    attempts = Attempts(tmp_path)

    def job(number):
        if attempts.begin(number) == 1 and number == 0:
            until(lambda: attempts.count(1))
            os.kill(os.getpid(), signal.SIGKILL)
        if number == 1:
            until(lambda: attempts.count(0) == 2)
        return number**2

    plan, ended = Flat(range(6)), []
    with workers(job, 2) as pool:
        drive([plan], pool, ended.append)
    assert plan.results == {number: number**2 for number in range(6)}
    assert sorted(ended) == list(range(6))
    assert [attempts.count(number) for number in range(6)] == [2, 1, 1, 1, 1, 1]
    assert "for lack of memory. Attempt 2 of 3 at job 0" in caplog.text


def test_a_job_that_kills_every_process_is_named(tmp_path):
    attempts = Attempts(tmp_path)

    def job(name):
        attempts.begin(name)
        if name == "large":
            os.kill(os.getpid(), signal.SIGKILL)

    match = r"killed in each of 3 attempts at job 'large', perhaps for lack of memory"
    with pytest.raises(WorkersLostError, match=match), workers(job, 2) as pool:
        drive([Flat(["large"])], pool)
    assert attempts.count("large") == 3


def test_an_error_ends_the_pool_at_once_and_comes_with_its_traceback_there(tmp_path):
    attempts = Attempts(tmp_path)

    def job(number):
        attempts.begin(number)
        if number == 0:
            until(lambda: attempts.count(1))
            raise FileNotFoundError("no such molecule")
        while True:  # for ever: it must be ended
            signal.pause()

    with pytest.raises(FileNotFoundError, match="no such molecule") as caught, workers(job, 2) as pool:
        drive([Flat(range(9))], pool)
    assert 'raise FileNotFoundError("no such molecule")' in str(caught.value.__cause__)
    assert [attempts.count(number) for number in range(9)] == [1, 1, 0, 0, 0, 0, 0, 0, 0]
    assert not lives(attempts.processes(1)[0])


def test_a_function_that_cannot_be_made_there_says_so():
    class Function:
        def __reduce__(self):
            return int, ("no number",)

    match = "the function of the jobs cannot be unpickled on .*: ValueError: invalid literal"
    with pytest.raises(RuntimeError, match=match), workers(Function(), 2) as pool:
        drive([Flat([1])], pool)


def test_a_script_needs_no_guard(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from tests.engine.jobs_plan import Flat\n"
        "from bilevel_hpo.jobs import drive, workers\n"
        "factor = 10\n"
        "def job(number):\n"
        "    return factor * number\n"
        "plan = Flat([1, 2, 3])\n"
        "with workers(job, 2) as pool:\n"
        "    drive([plan], pool)\n"
        "print(sorted(plan.results.values()))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, script], env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout == "[10, 20, 30]\n"
    assert done.stderr == ""


def test_many_processes_may_open_their_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        with workers(abs, 100):
            assert resource.getrlimit(resource.RLIMIT_NOFILE) == (min(256 + 1000, hard), hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def hears_ctrl_c() -> None:
    """What a shell starts in the background does not."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def driver(folder: Path) -> "subprocess.Popen[str]":
    """Drives eight jobs in a pool of two, in a process group of its own as a shell starts it."""
    return subprocess.Popen(
        [sys.executable, jobs_plan.__file__, str(folder), "2"],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=hears_ctrl_c,  # noqa: PLW1509  no thread of ours is in the middle of anything
    )


def test_a_killed_driver_leaves_no_process_behind_and_goes_on_where_it_was(tmp_path):
    results, attempts = tmp_path / "results", Attempts(tmp_path / "attempts")
    first = driver(tmp_path)
    until(lambda: len(list(results.glob("*"))) == 7)
    first.kill()
    first.communicate(timeout=120)
    processes = {process for number in range(8) for process in attempts.processes(number)}
    until(lambda: not any(lives(process) for process in processes))
    assert {path.name for path in results.iterdir()} == set("0123467")
    (tmp_path / "go").touch()
    second = driver(tmp_path)
    second.communicate(timeout=120)
    assert second.returncode == 0
    assert {path.name: path.read_text() for path in results.iterdir()} == {str(n): str(n**2) for n in range(8)}
    assert [attempts.count(number) for number in range(8)] == [1, 1, 1, 1, 1, 2, 1, 1]


def test_a_process_that_loky_replaces_has_the_function_too():
    """Loky replaces one that seems to leak memory, after its job."""
    data = torch.arange(8.0)

    def job(number):
        process_executor._MAX_MEMORY_LEAK_SIZE, process_executor._MEMORY_LEAK_CHECK_DELAY = -(2**60), 0
        return os.getpid(), torch.get_num_threads(), data[number].item()

    plan = Flat(range(8))
    with workers(job, 2) as pool:
        drive([plan], pool)
    assert [plan.results[number][1:] for number in range(8)] == [(1, float(number)) for number in range(8)]
    assert len({result[0] for result in plan.results.values()}) > 2


@pytest.mark.parametrize("when", ["starting", "working"])
def test_ctrl_c_ends_everything_with_one_traceback(when, tmp_path):
    running, attempts = driver(tmp_path), Attempts(tmp_path / "attempts")

    def processes():
        """Of the pool; loky's and Python's trackers of resources end by themselves."""
        children = psutil.Process(running.pid).children(recursive=True)
        return [child for child in children if "loky.backend.popen_loky_posix" in child.cmdline()]

    def importing():
        return any("torch" in file.path for process in processes() for file in process.memory_maps())

    until(importing if when == "starting" else lambda: attempts.count(5))
    begun = processes()
    os.killpg(running.pid, signal.SIGINT)
    _, said = running.communicate(timeout=120)
    assert running.returncode == -signal.SIGINT
    assert said.count("Traceback") == 1
    assert said.rstrip().endswith("KeyboardInterrupt")
    assert begun
    assert not any(child.is_running() for child in begun)
