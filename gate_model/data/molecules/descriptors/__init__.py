"""All RDKit 2-D descriptors of a molecule, with what they compute twice computed once."""

from gate_model.data.molecules.descriptors._all import NAMES, descriptors
from gate_model.data.molecules.descriptors._atoms import Atoms

__all__ = ["NAMES", "Atoms", "descriptors"]
