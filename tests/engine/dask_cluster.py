"""A Dask scheduler and workers, processes of their own on this host."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

_DASK = [sys.executable, "-m", "dask"]


class DaskCluster:
    """Within `with`: a scheduler, and workers that are started again when they end, as systemd or Kubernetes would."""

    def __init__(self, folder: Path, workers: int) -> None:
        self._log = folder / "cluster.log"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self._port}"
        self._count = workers
        self._folder = folder
        self._running: list[subprocess.Popen[bytes]] = []

    def start_scheduler(self) -> None:
        self._scheduler = self._start(
            [*_DASK, "scheduler", "--host", "127.0.0.1", "--port", str(self._port), "--no-dashboard"]
        )

    def kill_scheduler(self) -> None:
        self._scheduler.kill()
        self._scheduler.wait()

    def __enter__(self) -> "DaskCluster":
        self.start_scheduler()
        worker = [*_DASK, "worker", self.address, "--nworkers", str(self._count), "--nthreads", "1", "--no-dashboard"]
        command = " ".join([*worker, "--local-directory", str(self._folder)])
        self._start(["sh", "-c", f"while :; do {command}; done"])
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _start(self, command: list[str]) -> subprocess.Popen[bytes]:
        paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(paths),
            "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1",
        }
        with self._log.open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
        self._running.append(process)
        return process
