"""The chemicals table for all tests: built once per machine, cached outside the user's own cache."""

import os
import sys
import tempfile
from pathlib import Path

import pytest
from filelock import FileLock

os.environ.setdefault("GATE_CACHE", str(Path(tempfile.gettempdir()) / "gate-model-tests"))

# Processes that are killed by POSIX signals, a Dask cluster that a shell starts, ranks over gloo.
_POSIX = ["test_jobs_pool", "test_jobs_dask", "test_search_kills", "test_compare", "test_ranks", "test_lightning_step"]
_NOT_ON_WINDOWS = [*(f"engine/{name}.py" for name in _POSIX), "gate_model/cli/test_commands.py"]
collect_ignore = _NOT_ON_WINDOWS if sys.platform == "win32" else []


@pytest.fixture(scope="session")
def chemicals_table() -> object:
    """All 32 tasks with the derived labels; one worker builds, the others wait and read the cache."""
    from gate_model.data.cache import cache_folder
    from gate_model.data.chemicals.table import load_chemicals

    cache_folder().mkdir(parents=True, exist_ok=True)
    with FileLock(cache_folder() / "chemicals.lock"):
        return load_chemicals(derived=True)
