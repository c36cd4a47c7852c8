"""Surface areas by kinds of atoms: each family is one vector in RDKit, and one descriptor for each element of it."""

from rdkit.Chem import rdMolDescriptors

from gate_model.data.molecules.descriptors._atoms import Atoms

__all__ = ["surface"]

_FAMILIES = {
    "SMR_VSA": rdMolDescriptors.SMR_VSA_,
    "SlogP_VSA": rdMolDescriptors.SlogP_VSA_,
    "PEOE_VSA": rdMolDescriptors.PEOE_VSA_,
}


def surface(atoms: Atoms, values: dict[str, float]) -> None:
    """By molar refractivity, logP and partial charge of the atoms, in Å²."""
    for name, family in _FAMILIES.items():
        values |= {f"{name}{number}": value for number, value in enumerate(family(atoms.molecule, force=False), 1)}
