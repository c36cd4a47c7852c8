"""Names of columns: unit, logarithm, and none given twice."""

from dataclasses import replace

import pytest

from gate_model.data.tasks import Task
from gate_model.predictor.headers import OWN, headers, title


def test_headers_say_unit_and_logarithm() -> None:
    task = Task("VP", "vapour pressure", "Pa", "tabulated", "log10")
    assert title(task) == "VP [log10 Pa]"
    assert title(task, "±") == "VP ± [log10 Pa]"
    assert title(replace(task, unit="log10(Pa)"), "low") == "VP low [log10(Pa)]"
    assert title(replace(task, transform="identity", unit="")) == "VP"


def names(*tasks: tuple[str, str]) -> list[str]:
    """Of (abbreviation, unit): the columns of all."""
    found = headers([Task(name, name, unit) for name, unit in tasks])
    return [name for one in found for name in vars(one).values()]


@pytest.mark.parametrize("own", OWN)
def test_a_task_called_like_a_column_of_ours_gets_another_name(own: str) -> None:
    expected = [f"{own} (task)", f"{own} (task) ±", f"{own} (task) low", f"{own} (task) high"]
    assert names((own, "")) == expected
    assert names((own, "K"))[0] == f"{own} [K]", "the unit tells them apart"


def test_no_two_tasks_share_a_column() -> None:
    assert names(("bp", ""), ("ds", ""))[::4] == ["bp", "ds"], "names change only where they must"
    assert names(("bp", ""), ("bp low", ""))[::4] == ["bp", "bp low (task)"]
    assert names(("bp low", ""), ("bp", ""))[::4] == ["bp low", "bp (task)"]
    assert names(("BP [K]", ""), ("BP", "K"))[::4] == ["BP [K]", "BP (task) [K]"]
    hostile = [
        ("problem", ""),
        ("problem (task)", ""),
        ("problem (task) ±", ""),
        ("problem ±", ""),
        ("row", ""),
        ("a ±", ""),
    ]
    found = names(*hostile, ("a", ""))
    assert len({*found, *OWN}) == len(found) + len(OWN)
