"""SMILES in, canonical SMILES out."""

from rdkit import Chem, RDLogger
from rdkit.Chem.Scaffolds import MurckoScaffold

__all__ = ["canonical", "organic", "scaffold", "unreadable"]

RDLogger.DisableLog("rdApp.*")  # type: ignore[attr-defined]  # our own messages name the row

_ELEMENTS = frozenset({1, 5, 6, 7, 8, 9, 14, 15, 16, 17, 34, 35, 53})


def canonical(smiles: str) -> str | None:
    """RDKit's canonical SMILES; None if RDKit cannot read it, or if it holds no atom."""
    molecule = Chem.MolFromSmiles(smiles)
    return Chem.MolToSmiles(molecule) if molecule is not None and molecule.GetNumAtoms() else None


def unreadable(smiles: str) -> str:
    """What is wrong with a text that `canonical` gives None for."""
    return "RDKit cannot read this SMILES" if smiles else "no SMILES"


def organic(smiles: str) -> str | None:
    """Canonical SMILES of one neutral organic molecule, else None.

    One fragment, at least one carbon, only H B C N O F Si P S Cl Se Br I, no net charge, radical or isotope label.
    """
    molecule = None if "." in smiles else Chem.MolFromSmiles(smiles)
    if molecule is None or Chem.GetFormalCharge(molecule) != 0:
        return None
    numbers = {atom.GetAtomicNum() for atom in molecule.GetAtoms()}
    if 6 not in numbers or not numbers <= _ELEMENTS:
        return None
    if any(atom.GetNumRadicalElectrons() or atom.GetIsotope() for atom in molecule.GetAtoms()):
        return None
    return str(Chem.MolToSmiles(molecule))


def scaffold(smiles: str) -> str:
    """The Murcko scaffold's SMILES; empty for an acyclic molecule."""
    return str(MurckoScaffold.MurckoScaffoldSmiles(mol=Chem.MolFromSmiles(smiles)))  # type: ignore[no-untyped-call]
