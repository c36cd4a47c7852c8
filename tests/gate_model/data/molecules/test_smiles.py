"""Which molecules are organic."""

import pytest

from gate_model.data.molecules.smiles import organic


@pytest.mark.parametrize(
    ("smiles", "kept"), [("CCO", True), ("O", False), ("[Na+].CC(=O)[O-]", False), ("C[CH2]", False)]
)
def test_organic(smiles: str, kept: bool) -> None:
    assert (organic(smiles) is not None) == kept


def test_organic_refuses_isotopes_charges_and_metals() -> None:
    assert organic("[2H]C") is None
    assert organic("C[NH3+]") is None
    assert organic("C[Hg]C") is None
