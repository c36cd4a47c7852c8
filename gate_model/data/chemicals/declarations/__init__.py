"""Which tables of `chemicals` give which task, in order of trust, and what is believed of them."""

from gate_model.data.chemicals.declarations.energies import ENERGIES
from gate_model.data.chemicals.declarations.liquids import LIQUIDS
from gate_model.data.chemicals.declarations.transitions import TRANSITIONS
from gate_model.data.chemicals.sources import Declaration
from gate_model.data.tasks import CATALOGUE

__all__ = ["AVAILABLE", "DECLARATIONS"]

DECLARATIONS: dict[str, Declaration] = {**TRANSITIONS, **LIQUIDS, **ENERGIES}
"""The 32 tasks, and in lower case the auxiliary quantities that derived labels use."""

AVAILABLE = tuple(name for name in CATALOGUE if name in DECLARATIONS)
"""The tasks that the library can label, in the paper's order."""
