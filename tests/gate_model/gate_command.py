"""The command `gate` in a process of its own."""

import os
import subprocess
import sys

ENVIRONMENT = os.environ | {"COLUMNS": "200", "OMP_NUM_THREADS": "1"}


def gate(*arguments: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run it; with `check`, it must end well."""
    command = [sys.executable, "-m", "gate_model", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done
