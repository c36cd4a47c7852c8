"""Names of the rows."""

import pytest
import torch

from gate_model.experiments.leaderboard.table import ENTRIES, UNIFORM, UNIFORM_VALUES, entries_of


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_rows_name_the_methods_that_are_run() -> None:
    assert [entry.name for entry in entries_of(["lambda=0", "budget"])] == ["budget", "lambda=0"]
    assert {entry.name for entry in entries_of([UNIFORM])} == {
        UNIFORM,
        *(f"lambda={value:g}" for value in UNIFORM_VALUES),
    }
    with pytest.raises(ValueError, match="no method is called nonsense"):
        entries_of(["nonsense"])
    with pytest.raises(ValueError, match="chemprop-timed trains as long as lambda=1; name that method too"):
        entries_of(["chemprop-timed"])
    assert all(name == entry.name for name, entry in ENTRIES.items())
