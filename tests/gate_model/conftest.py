"""Real molecules for the tests."""

import pytest

from gate_model.data.chemicals.table import load_chemicals
from gate_model.data.prepared import PreparedData, prepare
from gate_model.data.table import PropertyTable


@pytest.fixture(scope="session")
def dsbp_table(chemicals_table: PropertyTable) -> PropertyTable:
    """DS, HV and BP."""
    return load_chemicals(["DS", "HV", "BP"])


@pytest.fixture(scope="session")
def small_data(dsbp_table: PropertyTable) -> PreparedData:
    """400 molecules with all three labels, ready for training."""
    full = dsbp_table.with_at_least(3)
    keep = range(0, 1200, 3)
    table = PropertyTable(
        full.tasks, tuple(full.smiles[i] for i in keep), full.labels[list(keep)], full.set_aside, full.source
    )
    return prepare(table, seed=0)
