"""The catalogue of tasks, in code and in the docs."""

from pathlib import Path

import pytest

from gate_model.data.chemicals.declarations import AVAILABLE
from gate_model.data.table import PropertyTable
from gate_model.data.tasks import summary

PAGE = Path(__file__).parents[3] / "docs" / "data.md"


def rows() -> dict[str, list[str]]:
    lines = [line.strip("| ").split(" | ") for line in PAGE.read_text(encoding="utf-8").splitlines()]
    return {line[0]: line[1:] for line in lines if len(line) == 7 and line[0] in AVAILABLE}


def test_names_units_and_counts_are_those_of_the_table(chemicals_table: PropertyTable) -> None:
    page = rows()
    assert tuple(page) == AVAILABLE
    for fact in chemicals_table.describe().itertuples():
        name, ours, derived, paper, kinds, _ = page[fact.task]
        assert name == f"{fact.name}, {fact.unit}"
        assert int(paper) == fact.paper
        # Other versions of RDKit join and split a few molecules.
        assert int(ours) == pytest.approx(fact.labels - fact.derived, rel=0.02)
        assert int(derived) == pytest.approx(fact.derived, rel=0.02)
        assert sum(int(part.split()[1]) for part in kinds.split(", ")) == int(ours) + int(derived)


def test_summary_of_kinds() -> None:
    assert summary(["tabulated", "tabulated"]) == "tabulated"
    assert summary(["tabulated", "derived"]) == "mixed"
    assert summary([]) == "user"
