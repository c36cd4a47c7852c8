"""Does λ reflect the value of a source? λ against the gain measured by leaving the source out."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from bilevel_hpo.plots._names import as_hover, as_label
from bilevel_hpo.plots._sources import Matrix, matrix
from bilevel_hpo.plots._template import GREY, PALETTE, TEMPLATE

__all__ = ["GainFacts", "gain", "gain_facts"]


@dataclass(frozen=True, eq=False)
class GainFacts:
    """Everything that `gain` draws."""

    table: pd.DataFrame
    """source, target, lambda, gain, lambda_std, gain_std (NaN if not given); the rows where both are finite."""
    left_out: int
    """Rows where λ or the gain is not finite."""
    rho: float
    """Spearman's rank correlation of λ and gain; NaN where one of them does not vary."""
    low: float
    """2.5 % and 97.5 % quantile of ρ over bootstrap samples of the rows."""
    high: float
    p: float
    """Two-sided p of ρ = 0 by permutation, (1 + as extreme) / (1 + resamples)."""

    @property
    def n(self) -> int:
        """The number of pairs."""
        return len(self.table)

    def to_frame(self) -> pd.DataFrame:
        """Returns the pairs drawn."""
        return self.table


def gain_facts(table: pd.DataFrame, *, ratios: Matrix | None = None, resamples: int = 2000, seed: int = 0) -> GainFacts:
    """Returns what `gain` draws; the arguments and errors are the same."""
    wanted = ["source", "target", "lambda", "gain"]
    if ratios is not None:
        table = _with_lambda(table, matrix(ratios))
    missing = [name for name in wanted if name not in table.columns]
    if missing:
        raise ValueError(f"table lacks the columns {missing}; it has {list(table.columns)}")
    doubled = table.duplicated(["source", "target"])
    if doubled.any():
        row = table.loc[doubled].iloc[0]
        raise ValueError(
            f"table has source {row['source']!r}, target {row['target']!r} twice; give the mean over seeds"
        )
    if resamples < 100:
        raise ValueError(f"resamples must be at least 100; got {resamples}")
    known = table.reindex(columns=[*wanted, "lambda_std", "gain_std"])
    known = known[np.isfinite(known[["lambda", "gain"]].to_numpy(dtype=np.float64)).all(axis=1)].reset_index(drop=True)
    if len(known) < 3:
        raise ValueError(f"table must have at least 3 rows with λ and gain for a correlation; it has {len(known)}")
    x, y = (known[name].to_numpy(dtype=np.float64) for name in ("lambda", "gain"))
    generator = np.random.default_rng(seed)
    rho = float(_spearman(x, y, np.ones((1, len(x))))[0])
    spread = _spearman(x, y, generator.multinomial(len(x), np.full(len(x), 1 / len(x)), size=resamples))
    ranks = [pd.Series(values).rank().to_numpy() for values in (x, y)]
    a, b = (each - each.mean() for each in ranks)
    scale = float(np.sqrt((a**2).sum() * (b**2).sum())) or np.nan
    null = generator.permuted(np.tile(b, (resamples, 1)), axis=1) @ a / scale
    extreme = int((np.abs(null) >= abs(rho) - 1e-12).sum())
    low, high = np.nanquantile(spread, [0.025, 0.975]) if np.isfinite(rho) else (np.nan, np.nan)
    return GainFacts(
        table=known,
        left_out=len(table) - len(known),
        rho=rho,
        low=float(low),
        high=float(high),
        p=(1 + extreme) / (1 + resamples) if np.isfinite(rho) else float("nan"),
    )


def gain(
    table: pd.DataFrame, *, ratios: Matrix | None = None, unit: str = "", resamples: int = 2000, seed: int = 0
) -> go.Figure:
    """Draws the gain of each source for each target over λ, with the rank correlation in the title.

    The gain is the target's RMSE trained without the source minus its RMSE trained with it: above 0 the source helped.
    The interval is a bootstrap over pairs, which it treats as independent; pairs share sources and targets, so it is
    somewhat too narrow.

    Args:
        table: one row per (source, target), with the columns source, target, lambda, gain, and optionally lambda_std
            and gain_std, drawn as error bars. Rows where λ or gain is not finite are left out; the title counts them.
        ratios: a learner, or any other input of `ratio_heatmap`: λ of each pair is read from it, and `table` has none.
        unit: the unit of the gain.
        resamples: the number of resamples of the bootstrap and of the permutation test.
        seed: the seed of both.

    Raises:
        ValueError: a column is missing, `ratios` lack a name or λ comes twice, a pair comes twice, fewer than three
            rows or fewer than 100 resamples.
    """
    facts = gain_facts(table, ratios=ratios, resamples=resamples, seed=seed)
    shown = facts.table
    figure = go.Figure(layout={"template": TEMPLATE, "showlegend": False, "margin": {"t": 56}})
    hover = [
        f"{as_hover(row['source'])} → {as_hover(row['target'])}<br>λ {_with_std(row, 'lambda')}"
        f"<br>gain {_with_std(row, 'gain')}"
        for row in shown.to_dict("records")
    ]
    bars = {
        f"error_{axis}": {"array": shown[f"{name}_std"].to_numpy(), "thickness": 1, "width": 0, "color": GREY}
        for axis, name in (("x", "lambda"), ("y", "gain"))
        if shown[f"{name}_std"].notna().any()
    }
    figure.add_scatter(
        x=shown["lambda"].to_numpy(),
        y=shown["gain"].to_numpy(),
        mode="markers",
        marker={"color": PALETTE[0], "size": 8 if facts.n <= 200 else 5, "opacity": 0.7},
        hovertext=hover,
        hoverinfo="text",
        **bars,
    )
    figure.add_hline(0, line={"color": GREY, "width": 1, "dash": "dash"})
    after = f" ({as_label(unit)})" if unit else ""
    figure.update_layout(title={"text": _title(facts), "x": 0, "xref": "paper", "font": {"size": 14}})
    figure.update_xaxes(title_text="λ, source → target")
    figure.update_yaxes(title_text=f"gain: RMSE without − with source{after}")
    return figure


def _with_lambda(table: pd.DataFrame, ratios: pd.DataFrame) -> pd.DataFrame:
    """Returns `table` with λ of its pairs from `ratios` `[targets, sources]`."""
    missing = [name for name in ("source", "target", "gain") if name not in table.columns]
    if missing:
        raise ValueError(f"table lacks the columns {missing}; it has {list(table.columns)}")
    if "lambda" in table.columns:
        raise ValueError("λ is given twice, in the column 'lambda' of table and in ratios; give one of them")
    for column, known in (("target", ratios.index), ("source", ratios.columns)):
        unknown = sorted(set(map(str, table[column])) - set(map(str, known)))
        if unknown:
            raise ValueError(f"ratios have no {column} {unknown}; they have {[*map(str, known)]}")
    values = ratios.to_numpy(dtype=np.float64, na_value=np.nan)
    rows, columns = ([*map(str, names)] for names in (ratios.index, ratios.columns))
    pairs = zip(table["target"], table["source"], strict=True)
    return table.assign(**{"lambda": [values[rows.index(str(t)), columns.index(str(s))] for t, s in pairs]})


def _title(facts: GainFacts) -> str:
    out = f", {facts.left_out} without a value" if facts.left_out else ""
    if np.isnan(facts.rho):
        return f"no rank correlation: λ or gain does not vary (n = {facts.n}{out})"
    interval = f"95 % interval {facts.low:.2f} to {facts.high:.2f}".replace("-", "−")
    rho = f"Spearman ρ = {facts.rho:.2f}".replace("-", "−")
    return f"{rho}, {interval},<br>permutation p = {facts.p:.2g}, n = {facts.n}{out}"


def _with_std(row: dict[Any, Any], name: str) -> str:
    spread = row[f"{name}_std"]
    return f"{row[name]:.3g}" + ("" if np.isnan(spread) else f" ± {spread:.2g}")


def _spearman(
    x: NDArray[np.float64], y: NDArray[np.float64], times: NDArray[np.int64] | NDArray[np.float64]
) -> NDArray[np.float64]:
    """Returns ρ `[R]` of pairs (x, y) `[n]` in samples with `times` `[R, n]` copies each; NaN if one is constant."""
    a, b = _ranks(x, times), _ranks(y, times)
    total = times.sum(axis=1, keepdims=True)
    a, b = (each - (times * each).sum(axis=1, keepdims=True) / total for each in (a, b))
    scale = np.sqrt((times * a**2).sum(axis=1) * (times * b**2).sum(axis=1))
    return np.asarray((times * a * b).sum(axis=1) / np.where(scale > 1e-9, scale, np.nan))


def _ranks(values: NDArray[np.float64], times: NDArray[np.int64] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the rank of each value `[n]` in each sample, `[R, n]`, minus one half; ties share their mean rank."""
    order = np.argsort(values, kind="stable")
    _, starts, tie = np.unique(values[order], return_index=True, return_inverse=True)
    together = np.add.reduceat(times[:, order], starts, axis=1)
    ranks = np.empty(times.shape)
    ranks[:, order] = (np.cumsum(together, axis=1) - together / 2)[:, tie]
    return ranks
