"""Plans and a driver for the tests of jobs.

python jobs_plan.py FOLDER ON    drives eight jobs, results kept in FOLDER/results; job 5 waits for FOLDER/go
"""

import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from bilevel_hpo.jobs import On, drive, workers


class Flat:
    """Jobs that can all begin at once."""

    def __init__(self, jobs: Sequence[Any]) -> None:
        self.jobs = list(jobs)
        self.results: dict[Any, Any] = {}

    def start(self) -> list[Any]:
        jobs, self.jobs = self.jobs, []
        return jobs

    def finish(self, job: Any, result: Any) -> None:
        assert job not in self.results, f"{job} has two results"
        self.results[job] = result


class Kept(Flat):
    """The same, with results in files: a driver that was killed goes on where it was."""

    def __init__(self, jobs: Sequence[int], folder: Path) -> None:
        super().__init__([job for job in jobs if not (folder / str(job)).exists()])
        self.folder = folder

    def finish(self, job: int, result: int) -> None:
        super().finish(job, result)
        with (self.folder / str(job)).open("x") as file:
            file.write(str(result))


class Attempts:
    """A file for each time that a job begins, with the process in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)

    def begin(self, job: int) -> int:
        """Which attempt at the job this is."""
        (self.folder / f"{job}-{uuid4().hex}").write_text(str(os.getpid()))
        return self.count(job)

    def count(self, job: int) -> int:
        return len(self.processes(job))

    def processes(self, job: int) -> list[int]:
        return [int(path.read_text() or 0) for path in sorted(self.folder.glob(f"{job}-*"))]


def until(happened: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def main(folder: Path, on: On) -> None:
    def job(number: int) -> int:
        Attempts(folder / "attempts").begin(number)
        if number == 5:
            until((folder / "go").exists, seconds=900)  # more than a test waits for the end of this process
        return number**2

    (folder / "results").mkdir(exist_ok=True)
    with workers(job, on) as started:
        drive([Kept(range(8), folder / "results")], started)


if __name__ == "__main__":  # not for the pool, which needs no guard: for the tests, which import this
    main(Path(sys.argv[1]), int(sys.argv[2]) if sys.argv[2].isdigit() else sys.argv[2])
