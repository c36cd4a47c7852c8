"""The section of the report on what a public table bought."""

from pathlib import Path

import pytest

from bilevel_hpo.report import PageTable, ReportError
from bilevel_hpo.run_folder import write_csv
from gate_model.data.tasks import Task
from gate_model.predictor.with_public import Bought, bought_frame
from gate_model.report._with_public import bought_parts

NAN = float("nan")
FOUND = (
    Bought(Task("BP", "boiling point", "K"), (80, 9, 11), 3, 2, 30.5, 20.25, 4, 16.5),
    Bought(Task("own", "own", ""), (12, 1, 1), 2, 3, 2, 3, NAN, NAN),
)


def test_every_column_has_a_sentence_and_a_row(tmp_path: Path) -> None:
    write_csv(tmp_path / "with_public.csv", bought_frame(FOUND))
    *sentences, page, _ = bought_parts(tmp_path)
    assert sentences == [each.sentence for each in FOUND]
    assert isinstance(page, PageTable)
    first, second = page.rows
    assert first == ("BP", "K", "80, 9, 11", "3", "2", "30.5", "20.25", "10.2 (4 to 16.5)", "joined")
    assert second == ("own", "", "12, 1, 1", "2", "3", "2", "3", "-1 (no interval)", "alone")


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    write_csv(tmp_path / "with_public.csv", bought_frame(FOUND).drop(columns="chosen"))
    with pytest.raises(ReportError, match=r"with_public\.csv"):
        list(bought_parts(tmp_path))
