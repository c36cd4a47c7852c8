"""How many different Morgan environments there are for each heavy atom."""

from gate_model.data.molecules.descriptors._atoms import Atoms

__all__ = ["density"]


def density(atoms: Atoms, values: dict[str, float]) -> None:
    """Of radius 1, 2 and 3."""
    heavy = atoms.molecule.GetNumHeavyAtoms()
    for radius, found in atoms.environments.items():
        values[f"FpDensityMorgan{radius}"] = float(len(found)) / heavy if heavy else 0.0
