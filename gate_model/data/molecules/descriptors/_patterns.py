"""All that is counted by SMARTS patterns: RDKit's fr_ descriptors, and the acceptors and alerts of QED."""

from functools import cache

from rdkit.Chem import QED, Fragments

from gate_model.data.molecules.descriptors._atoms import Atoms
from gate_model.data.molecules.descriptors._drug_likeness import drug_likeness
from gate_model.data.molecules.descriptors._possible import Patterns

__all__ = ["patterns"]

_FRAGMENTS = [name for name, _ in Fragments.fns]
_ALERTS = len(_FRAGMENTS)
_ACCEPTORS = _ALERTS + len(QED.StructuralAlerts)


@cache
def _all() -> Patterns:
    """Fragments, then alerts, then acceptors."""
    fragments = [function.__defaults__[1] for _, function in Fragments.fns]
    return Patterns([*fragments, *QED.StructuralAlerts, *QED.Acceptors])


def patterns(atoms: Atoms, values: dict[str, float]) -> None:
    """Only what this molecule can hold is matched."""
    if atoms.explicit_hydrogens:
        return  # for a pattern they count as hydrogens of their neighbours, and QED takes them away first
    molecule, known = atoms.molecule, _all()
    values |= dict.fromkeys(_FRAGMENTS, 0.0)
    acceptors = alerts = 0
    for number in known.possible(atoms):
        pattern = known.patterns[number]
        if number < _ALERTS:
            values[_FRAGMENTS[number]] = float(len(molecule.GetSubstructMatches(pattern)))
        elif number < _ACCEPTORS:
            alerts += molecule.HasSubstructMatch(pattern)
        else:
            acceptors += len(molecule.GetSubstructMatches(pattern))
    drug_likeness(atoms, values, acceptors=acceptors, alerts=alerts)
