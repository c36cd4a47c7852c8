"""The parts of a page: sections of paragraphs, tables and figures. An adapter adds its own as the same records.

All text is plain, and escaped when it is written; `markupsafe.Markup` is used as safe HTML.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import pandas as pd
import plotly.graph_objects as go

__all__ = [
    "Cell",
    "Code",
    "Column",
    "Fold",
    "Gallery",
    "Notes",
    "PageFigure",
    "PageTable",
    "Part",
    "Place",
    "Rival",
    "Rivals",
    "Section",
    "Size",
    "Soft",
    "figures_of",
    "tables",
]

_LARGEST, _ALL = 100_000, 500_000


@dataclass(frozen=True)
class PageFigure:
    """One figure with its data."""

    id: str
    """Different from that of every other figure: letters, digits, hyphens or the name of a method."""
    title: str
    caption: str
    figure: go.Figure
    table: pd.DataFrame
    """The data of the figure, to download."""
    height: int
    """Pixels."""
    min_width: int = 0
    """Pixels below which the figure scrolls in its container."""


@dataclass(frozen=True)
class Column:
    """The head of a column."""

    name: str
    number: bool = False
    """Numbers stand to the right and are not wrapped."""


@dataclass(frozen=True)
class Cell:
    """One cell of a table."""

    text: str
    best: bool = False
    """Marked by a colour."""
    tag: str = ""
    """Small and grey behind the text."""


@dataclass(frozen=True)
class PageTable:
    """A table; the first cell of a row names it."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell | str, ...], ...]
    wide: bool = False
    """The names of the rows are long."""
    kind: ClassVar[str] = "table"


Size = Literal["wide", "pair", "small"]


@dataclass(frozen=True)
class Gallery:
    """Figures, side by side if there is room."""

    figures: tuple[PageFigure, ...]
    size: Size = "pair"
    kind: ClassVar[str] = "gallery"


@dataclass(frozen=True)
class Fold:
    """Parts that open on a click."""

    summary: str
    parts: "tuple[Part, ...]"
    open: bool = False
    kind: ClassVar[str] = "fold"


@dataclass(frozen=True)
class Soft:
    """A paragraph in grey, which explains the rest."""

    text: str
    kind: ClassVar[str] = "soft"


@dataclass(frozen=True)
class Notes:
    """A list in grey."""

    texts: tuple[str, ...]
    kind: ClassVar[str] = "notes"


@dataclass(frozen=True)
class Code:
    """A command."""

    text: str
    kind: ClassVar[str] = "code"


@dataclass(frozen=True)
class Rival:
    """One line of comparison."""

    other: str
    """Title of the other method."""
    verdict: str
    """In words, with the difference."""
    certain: str
    """How sure that is."""
    evidence: str
    """The numbers behind it."""
    cost: str
    """Trainings and seconds of both; empty if both are as many trainings."""


@dataclass(frozen=True)
class Rivals:
    """A method against the others."""

    subject: str
    what: str
    """The metric on the test data."""
    lines: tuple[Rival, ...]
    kind: ClassVar[str] = "rivals"


Place = Literal["header", "answer", "methods", "lambda", "search", "training", "tasks", "again"]


@dataclass(frozen=True)
class Section:
    """A part of the page with its own title.

    An empty title gives no heading: the parts continue the section before. Inside another section the heading is
    smaller.
    """

    title: str
    parts: "tuple[Part, ...]"
    after: Place = "tasks"
    """The engine's section behind which it stands; "header" is the paragraph above the title, and takes text only."""
    link: str = ""
    """The word in the table of contents; by default the title."""
    kind: ClassVar[str] = "section"


Part = str | Soft | PageTable | Gallery | Fold | Section | Notes | Code | Rivals
"""A text alone is a paragraph."""


def figures_of(parts: Iterable[Part]) -> Iterator[PageFigure]:
    """Yields all figures in `parts`, including those in folds and inner sections."""
    for part in parts:
        if isinstance(part, Gallery):
            yield from part.figures
        elif isinstance(part, Fold | Section):
            yield from figures_of(part.parts)


def tables(figures: Iterable[PageFigure]) -> dict[str, str]:
    """Returns the tables of the figures as CSV, to six significant digits, by id.

    A table above 100 kB, and those after the first 500 kB of all, are left out to keep the page small: their numbers
    are in the csv files of the folder.
    """
    found, total = {}, 0
    for figure in figures:
        named = not isinstance(figure.table.index, pd.RangeIndex)
        text = figure.table.to_csv(index=named, float_format="%.6g")
        if len(text) <= _LARGEST and total + len(text) <= _ALL:
            found[figure.id] = text
            total += len(text)
    return found
