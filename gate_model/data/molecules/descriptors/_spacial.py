"""The spacial score SPS. Krzyzanowski et al., J. Med. Chem. 66 (2023) 12739."""

from typing import Any

from rdkit import Chem

from gate_model.data.molecules.descriptors._atoms import Atoms

__all__ = ["spacial"]

_HYBRIDS = {Chem.HybridizationType.SP: 1, Chem.HybridizationType.SP2: 2, Chem.HybridizationType.SP3: 3}
_FLAT = {1, 6, 7, 8, 9, 17, 35, 53}
"""Elements that are no centre with fewer than three neighbours."""


def spacial(atoms: Atoms, values: dict[str, float]) -> None:
    """Σ hybridisation · stereo · ring · degree² over the atoms, for each heavy atom."""
    hybrids = [_HYBRIDS.get(atom.GetHybridization(), 4) for atom in atoms.atoms]
    stereo = _stereo_atoms(atoms, hybrids)
    score = 0
    for index, hybrid in enumerate(hybrids):
        ring = 2 if atoms.in_ring[index] and not atoms.aromatic[index] else 1
        score += hybrid * (2 if index in stereo else 1) * ring * atoms.degrees[index] ** 2
    values["SPS"] = score / atoms.molecule.GetNumHeavyAtoms()


def _stereo_atoms(atoms: Atoms, hybrids: list[int]) -> set[int]:
    """Centres, specified or not, and the ends of double bonds that have an E and a Z form."""
    centres = any(
        (hybrid > 2 and degree > 2) or number not in _FLAT
        for hybrid, degree, number in zip(hybrids, atoms.degrees, atoms.numbers, strict=True)
    )
    double = any(order == 2 for *_, order in atoms.bonds)
    stereo: set[int] = set()
    if not (centres or double):
        return stereo
    copy = Chem.Mol(atoms.molecule)
    if double:
        Chem.FindPotentialStereoBonds(copy)
    if centres:
        stereo |= _centres(copy)
    if double:
        for number, (begin, end, order) in enumerate(atoms.bonds):
            if order == 2 and copy.GetBondWithIdx(number).GetStereo() != Chem.BondStereo.STEREONONE:
                stereo |= {begin, end}
    return stereo


def _centres(molecule: Any) -> set[int]:
    legacy = Chem.GetUseLegacyStereoPerception()
    Chem.SetUseLegacyStereoPerception(False)
    try:
        found = Chem.FindPotentialStereo(molecule)
    finally:
        Chem.SetUseLegacyStereoPerception(legacy)
    return {element.centeredOn for element in found if element.type == Chem.StereoType.Atom_Tetrahedral}
