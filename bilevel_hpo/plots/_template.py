"""The template of every figure: transparent, in greys and hues that are readable on white and on black."""

import plotly.graph_objects as go

__all__ = ["DASHES", "DIVERGING", "GREY", "PALETTE", "SEQUENTIAL", "TEMPLATE", "translucent"]

PALETTE: tuple[str, ...] = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito (2008), told apart by colour-blind eyes; without yellow and black, which vanish on white and black."""

DASHES: tuple[str, ...] = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
"""Lines differ in dash as well as in colour."""

SEQUENTIAL = "Cividis"
"""Lightness rises evenly, and looks alike to colour-blind eyes."""

DIVERGING = "RdBu_r"
"""Blue below the middle, red above it: told apart by colour-blind eyes (ColorBrewer)."""

GREY = "#868e9a"
"""For what stands back: it can be seen on white and on black."""

_TEXT = "#767b85"  # contrast 4.2 on white, 4.6 on #111418
_GRID = "rgba(128, 134, 146, 0.25)"
_AXIS = {
    "gridcolor": _GRID,
    "linecolor": _GRID,
    "zerolinecolor": _GRID,
    "zeroline": False,
    "automargin": True,
    "title": {"standoff": 10},
}
_SCENE_GRID = "#9aa0ab"  # WebGL mixes a translucent grid with white, also on black
_SCENE_AXIS = {"gridcolor": _SCENE_GRID, "linecolor": _SCENE_GRID, "zeroline": False, "showbackground": False}

TEMPLATE: go.layout.Template = go.layout.Template(
    layout={
        "font": {"family": "system-ui, -apple-system, 'Segoe UI', sans-serif", "size": 13, "color": _TEXT},
        "colorway": list(PALETTE),
        "paper_bgcolor": "rgba(0, 0, 0, 0)",
        "plot_bgcolor": "rgba(0, 0, 0, 0)",
        "margin": {"l": 56, "r": 16, "t": 24, "b": 48},
        "xaxis": _AXIS,
        "yaxis": _AXIS,
        "scene": {"xaxis": _SCENE_AXIS, "yaxis": _SCENE_AXIS, "zaxis": _SCENE_AXIS},
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"},
        "hoverlabel": {"font": {"size": 13}, "align": "left", "namelength": -1},
        "hovermode": "closest",
        "modebar": {"bgcolor": "rgba(0, 0, 0, 0)", "color": _GRID, "activecolor": _TEXT},
    }
)


def translucent(colour: str, alpha: float) -> str:
    """Returns `#rrggbb` with an opacity, as plotly's `rgba(…)`."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, {alpha:g})"
