"""The descriptors in RDKit's order: groups that share their work first, the others by RDKit's own functions."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

from rdkit.Chem import Descriptors

from gate_model.data.molecules.descriptors._atoms import Atoms
from gate_model.data.molecules.descriptors._burden import burden
from gate_model.data.molecules.descriptors._charges import charges
from gate_model.data.molecules.descriptors._connectivity import connectivity
from gate_model.data.molecules.descriptors._counts import counts
from gate_model.data.molecules.descriptors._crippen import crippen
from gate_model.data.molecules.descriptors._density import density
from gate_model.data.molecules.descriptors._distances import bertz, distances, estate
from gate_model.data.molecules.descriptors._patterns import patterns
from gate_model.data.molecules.descriptors._spacial import spacial
from gate_model.data.molecules.descriptors._surface import surface

__all__ = ["NAMES", "descriptors"]

NAMES: tuple[str, ...] = tuple(name for name, _ in Descriptors.descList)
FAILURES = (ValueError, ZeroDivisionError, RuntimeError, OverflowError)
"""What a descriptor raises for a molecule that it is not defined for."""


@dataclass(frozen=True)
class _Group:
    """Descriptors that share work, and the version of RDKit's definitions which that work was written after."""

    compute: Callable[[Atoms, dict[str, float]], None]
    versions: dict[str, str]


_GROUPS = (
    _Group(counts, {"NumValenceElectrons": "1.1.0", "NumRadicalElectrons": "1.1.0", "Chi0": "1.0.0", "Chi1": "1.0.0"}),
    _Group(estate, {"MaxEStateIndex": "1.0.0", "EState_VSA1": "1.0.1", "VSA_EState1": "1.0.0"}),
    _Group(distances, {"AvgIpc": "1.0.0", "Ipc": "1.0.0", "BalabanJ": "1.0.0"}),
    _Group(bertz, {"BertzCT": "2.0.0"}),
    _Group(charges, {"MaxPartialCharge": "1.0.0", "MinAbsPartialCharge": "1.0.0"}),
    _Group(crippen, {"MolLogP": "1.2.0", "MolMR": "1.2.0"}),
    _Group(surface, {"SMR_VSA1": "1.0.1", "SlogP_VSA1": "1.0.1", "PEOE_VSA1": "1.0.1"}),
    _Group(burden, {"BCUT2D_MWHI": "1.0.0"}),
    _Group(connectivity, {"Chi2n": "1.2.0", "Chi2v": "1.2.0", "Kappa1": "1.1.0", "Kappa2": "1.1.0", "Kappa3": "1.1.0"}),
    _Group(density, {"FpDensityMorgan1": "1.0.0"}),
    _Group(spacial, {"SPS": "1.0.0"}),
    _Group(patterns, {"qed": "1.1.0"}),
)


def descriptors(atoms: Atoms) -> list[float]:
    """Values in the order of `NAMES`; 0 where RDKit has no value for this molecule."""
    values: dict[str, float] = {}
    for compute in _computes():
        with suppress(*FAILURES):
            compute(atoms, values)
    return [
        values[name] if name in values else _one(function, atoms.molecule) for name, function in Descriptors.descList
    ]


def _one(function: Callable[[Any], float], molecule: Any) -> float:
    try:
        return float(function(molecule))
    except FAILURES:
        return 0.0


@cache
def _computes() -> tuple[Callable[[Atoms, dict[str, float]], None], ...]:
    """Those whose definitions in the installed RDKit are the ones that they share."""
    installed = {name: getattr(function, "version", None) for name, function in Descriptors.descList}
    return tuple(
        group.compute
        for group in _GROUPS
        if all(installed.get(name) == version for name, version in group.versions.items())
    )
