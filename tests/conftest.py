"""The chemicals table for all tests: built once per machine, cached outside the user's own cache."""

import os
import tempfile
from pathlib import Path

import pytest
from filelock import FileLock

os.environ.setdefault("GATE_CACHE", str(Path(tempfile.gettempdir()) / "gate-model-tests"))


@pytest.fixture(scope="session")
def chemicals_table() -> object:
    """All 32 tasks with the derived labels; one worker builds, the others wait and read the cache."""
    from gate_model.data.cache import cache_folder
    from gate_model.data.chemicals.table import load_chemicals

    cache_folder().mkdir(parents=True, exist_ok=True)
    with FileLock(cache_folder() / "chemicals.lock"):
        return load_chemicals(derived=True)
