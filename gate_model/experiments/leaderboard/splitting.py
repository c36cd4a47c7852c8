"""Which molecules a leaderboard trains on and tests on, for one seed."""

from typing import Literal

from gate_model.data.random_split import fewer, random_split
from gate_model.data.splits import Split, scaffold_split
from gate_model.data.table import PropertyTable

__all__ = ["split_of"]


def split_of(table: PropertyTable, kind: Literal["scaffold", "random"], fraction: float, *, seed: int) -> Split:
    """A split of the table's molecules, with a share of its train and validation molecules only."""
    if kind == "scaffold":
        whole = scaffold_split(table.smiles, table.labels, seed=seed)
    else:
        whole = random_split(table.labels, seed=seed)
    return fewer(whole, table.labels, fraction, seed=seed)
