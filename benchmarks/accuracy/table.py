"""From measured trainings to rows of a table."""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from accuracy.measure import ESTIMATORS, STEP

__all__ = ["COLUMNS", "flat", "summary", "text"]

COLUMNS = {
    "states": "{:.0f}",
    "median": "{:.1e}",
    "q99": "{:.1e}",
    "worst": "{:.1e}",
    "above_1e-2": "{:.2%}",
    "above_5e-2": "{:.2%}",
    "zeros": "{:.0f}",
    "float64": "{:.0f}",
    "not_certified": "{:.0f}",
    "silent": "{:.0f}",
}
"""`q99`: the quantile of 99 %. `zeros`: all of g is exactly 0, g64 is not, and that is not said. `float64`: computed
again so. `not_certified`: the estimator says that it could not. `silent`: errors above 5e-2 that are not said."""


def flat(trainings: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """One row per state and estimator."""
    return pd.DataFrame(
        {"estimator": name, "step": state["step"], "norm": state["norm"], **about, **state[name]}
        for training in trainings
        for about in [{key: training[key] for key in ("network", "optimizer", "role")}]
        for state in training["states"]
        for name in (STEP, *ESTIMATORS)
    )


def summary(states: pd.DataFrame) -> dict[str, float]:
    """The row of one group of states. Those whose g64 is exactly 0 have no relative error and are left out."""
    states = states[states["norm"] > 0]
    error = states["error"].astype(float).fillna(float("inf"))  # an estimate that is not finite
    return {
        "states": len(states),
        "median": error.median(),
        "q99": error.quantile(0.99, interpolation="higher"),
        "worst": error.max(),
        "above_1e-2": (error > 1e-2).mean(),
        "above_5e-2": (error > 5e-2).mean(),
        "zeros": int((states["zero"] & states["certified"]).sum()),
        "float64": int(states["computed_in"].eq("float64").sum()),
        "not_certified": int((~states["certified"]).sum()),
        "silent": int(((error > 5e-2) & states["certified"]).sum()),
    }


def text(rows: dict[str, dict[str, float]]) -> str:
    """Rows by name, aligned."""
    width = max(map(len, rows)) + 2
    lines = [" " * width + "".join(f"{name:>{max(11, len(name) + 2)}}" for name in COLUMNS)]
    for name, row in rows.items():
        cells = (f"{form.format(row[key]):>{max(11, len(key) + 2)}}" for key, form in COLUMNS.items())
        lines.append(f"{name:{width}}" + "".join(cells))
    return "\n".join(lines)
