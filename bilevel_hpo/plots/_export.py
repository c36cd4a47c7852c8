"""Write a figure to files: a self-contained page, images, and the numbers."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import pandas as pd
import plotly.graph_objects as go

__all__ = ["CONFIG", "ExportError", "Format", "Tabular", "export"]

Format = Literal["html", "csv", "png", "svg", "json"]
_FORMATS = ("html", "csv", "png", "svg", "json")

CONFIG: dict[str, Any] = {
    "responsive": True,
    "displaylogo": False,
    "showSendToCloud": False,
    "modeBarButtonsToRemove": ["sendChartToCloud", "select2d", "lasso2d"],
}
"""How plotly.js shows every figure: without its button that uploads the figure to a server."""

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'unsafe-inline'; \
style-src 'unsafe-inline'; img-src data: blob:; form-action 'none'; base-uri 'none'">
<meta name="color-scheme" content="light dark">
<title>λ</title>
<style>html, body {{ height: 100%; margin: 0; background: Canvas; }} .plotly-graph-div {{ min-width: 640px; }}</style>
</head>
<body>
{figure}
</body>
</html>
"""


class ExportError(RuntimeError):
    """Raised if an image cannot be made; the message says what to install."""


class Tabular(Protocol):
    """The interface of the facts of a figure."""

    def to_frame(self) -> pd.DataFrame:
        """Returns the data of the figure as one table."""
        ...


def export(
    figure: go.Figure,
    facts: "Tabular | pd.DataFrame",
    path: str | Path,
    formats: Sequence[Format] = ("html", "csv"),
) -> tuple[Path, ...]:
    """Writes `figure`, and the table of its data, to `path` + "." + format.

    The page contains plotly.js (about 5 MB) and may not load anything; it follows the reader's dark or light mode.
    Images are white where the figure is transparent.

    Args:
        figure: a figure returned by one of the functions here.
        facts: the facts of the figure, or a table of your own; written as CSV.
        path: the folder and name without an ending; the folder is made if missing.
        formats: any of html, csv, png, svg and json (plotly's own). png and svg need kaleido and Chrome or Chromium.

    Returns:
        The files, in the order of `formats`.

    Raises:
        ValueError: a format is unknown.
        ExportError: kaleido or a browser is missing; formats before that one are written.
    """
    unknown = [each for each in formats if each not in _FORMATS]
    if isinstance(formats, str) or unknown:
        raise ValueError(f"formats must be a list with entries of {list(_FORMATS)}; got {formats!r}")
    stem = Path(path)
    stem.parent.mkdir(parents=True, exist_ok=True)
    files = []
    for each in formats:
        file = stem.with_name(f"{stem.name}.{each}")
        if each == "html":
            inner = figure.to_html(full_html=False, include_plotlyjs=True, config=CONFIG, default_height="100%")
            file.write_text(_PAGE.format(figure=inner), encoding="utf-8", errors="replace")
        elif each == "csv":
            table = facts if isinstance(facts, pd.DataFrame) else facts.to_frame()
            table.to_csv(file, index=False, errors="replace")
        elif each == "json":
            file.write_text(figure.to_json(), encoding="utf-8", errors="replace")
        else:
            _picture(figure, file)
        files.append(file)
    return tuple(files)


def _picture(figure: go.Figure, file: Path) -> None:
    if importlib.util.find_spec("kaleido") is None:
        raise ExportError(f"{file.name} needs kaleido: pip install 'bilevel-hpo[images]'")
    white = go.Figure(figure).update_layout(paper_bgcolor="white")
    try:
        white.write_image(file, width=figure.layout.width or 1000, height=figure.layout.height or 700, scale=2)
    except Exception as error:  # kaleido's errors for a missing browser differ from version to version
        raise ExportError(
            f"{file.name} could not be drawn ({type(error).__name__}: {str(error).strip()[:200]}); kaleido needs "
            "Chrome or Chromium: install one, or run plotly_get_chrome, and set BROWSER_PATH if it is elsewhere"
        ) from error
