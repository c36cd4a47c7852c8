"""One figure of the page."""

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go

__all__ = ["PageFigure", "tables"]

_LARGEST, _ALL = 100_000, 500_000


@dataclass(frozen=True)
class PageFigure:
    """All text is plain and escaped by the template."""

    id: str
    title: str
    caption: str
    figure: go.Figure
    table: pd.DataFrame
    """What the figure shows, to download."""
    height: int
    """Pixels."""
    min_width: int = 0
    """Pixels below which the figure scrolls in its container."""


def tables(figures: Iterable[PageFigure]) -> dict[str, str]:
    """The figures' tables as CSV, to six significant digits, by id.

    A table above 100 kB, and those after the first 500 kB of all, are left out to keep the page small: their numbers
    are in the csv files beside it.
    """
    found, total = {}, 0
    for figure in figures:
        named = not isinstance(figure.table.index, pd.RangeIndex)
        text = figure.table.to_csv(index=named, float_format="%.6g")
        if len(text) <= _LARGEST and total + len(text) <= _ALL:
            found[figure.id] = text
            total += len(text)
    return found
