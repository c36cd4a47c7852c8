"""One figure of the page."""

from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go

__all__ = ["LARGEST_CSV", "PageFigure"]

LARGEST_CSV = 100_000
"""Bytes. A larger table is not put into the page: its numbers are in the csv files beside it."""


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

    def csv(self) -> str:
        """`table` to six significant digits; empty if that is too large for the page."""
        named = not isinstance(self.table.index, pd.RangeIndex)
        text = self.table.to_csv(index=named, float_format="%.6g")
        return text if len(text) <= LARGEST_CSV else ""
