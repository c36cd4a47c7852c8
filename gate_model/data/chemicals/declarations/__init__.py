"""The declarations: which tables of `chemicals` label which task, in order of trust, and within which bounds."""

from gate_model.data.chemicals.declarations.energies import ENERGIES
from gate_model.data.chemicals.declarations.liquids import LIQUIDS
from gate_model.data.chemicals.declarations.transitions import TRANSITIONS
from gate_model.data.chemicals.sources import Declaration
from gate_model.data.tasks import CATALOGUE

__all__ = ["AVAILABLE", "DECLARATIONS"]

DECLARATIONS: dict[str, Declaration] = {**TRANSITIONS, **LIQUIDS, **ENERGIES}
"""Declarations of the 32 tasks, and (names in lower case) of the auxiliary quantities that derived labels use."""

AVAILABLE = tuple(name for name in CATALOGUE if name in DECLARATIONS)
"""The tasks that the library can label, in the paper's order."""
