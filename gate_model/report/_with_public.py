"""What a public table bought for the columns of a user's file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bilevel_hpo.report import Cell, Column, PageTable, Soft, read_table

__all__ = ["bought_parts"]

_TEXT = ("column", "unit", "chosen", "sentence")
_NUMBERS = (
    "training_labels",
    "selection_labels",
    "test_labels",
    "selection_alone",
    "selection_joined",
    "test_alone",
    "test_joined",
    "bought",
    "low",
    "high",
)


def bought_parts(folder: Path) -> Iterator[str | PageTable | Soft]:
    """A sentence for each column of the file, and a table of the numbers behind them.

    Raises:
        ReportError: with_public.csv is damaged.
    """
    rows = read_table(folder / "with_public.csv", _TEXT, _NUMBERS)
    yield from (str(sentence) for sentence in rows["sentence"])
    head = (
        Column("column"),
        Column("unit"),
        Column("labels: training, selection, test", number=True),
        *(Column(name, number=True) for name in ("selection: alone", "joined", "test: alone", "joined")),
        Column("bought (95 %)", number=True),
        Column("predicted by"),
    )
    caption = "RMSE on the file's own selection and test molecules, in the unit of the column."
    yield PageTable(caption, head, tuple(_row(row) for row in rows.to_dict("records")))
    yield Soft(
        "Neither model was trained on these molecules, nor on public molecules of the same scaffold. The model for "
        "each column is chosen on the selection molecules; the test molecules are looked at once. The interval is for "
        "other test molecules (paired bootstrap), not for other trainings. The rest of this page is about the joined "
        "training, and alone/report.html about the one on the file alone."
    )


def _row(row: dict[Any, Any]) -> tuple[Cell | str, ...]:
    labels = ", ".join(f"{row[name]:.0f}" for name in ("training_labels", "selection_labels", "test_labels"))
    numbers = [f"{row[name]:.4g}" for name in ("selection_alone", "selection_joined", "test_alone", "test_joined")]
    sure = "no interval" if np.isnan(row["low"]) else f"{row['low']:.3g} to {row['high']:.3g}"
    interval = f"{row['bought']:.3g} ({sure})"
    return (str(row["column"]), str(row["unit"]), labels, *numbers, interval, str(row["chosen"]))
