"""The extremes of Gasteiger's partial charges."""

from gate_model.data.molecules.descriptors._atoms import Atoms

__all__ = ["charges"]


def charges(atoms: Atoms, values: dict[str, float]) -> None:
    """Largest and smallest charge in units of e, with their signs and without."""
    if atoms.partial_charges is None:
        return
    low, high = 500.0, -500.0
    for charge in atoms.partial_charges:  # the charge first, as in RDKit: it may be no number
        low, high = min(charge, low), max(charge, high)
    values |= {"MaxPartialCharge": high, "MinPartialCharge": low}
    values |= {"MaxAbsPartialCharge": max(abs(low), abs(high)), "MinAbsPartialCharge": min(abs(low), abs(high))}
