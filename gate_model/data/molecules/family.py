"""Which molecules are too much alike for one to be trained on and the other to be tested."""

from rdkit import Chem
from rdkit.Chem.Scaffolds import MurckoScaffold

__all__ = ["family"]


def family(smiles: str) -> str:
    """SMILES of the Murcko scaffold, or of an acyclic molecule itself, both without stereochemistry.

    Args:
        smiles: readable.
    """
    molecule = Chem.MolFromSmiles(smiles)
    Chem.RemoveStereochemistry(molecule)
    scaffold = MurckoScaffold.MurckoScaffoldSmiles(mol=molecule)  # type: ignore[no-untyped-call]
    return str(scaffold or Chem.MolToSmiles(molecule))
