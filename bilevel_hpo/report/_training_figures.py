"""Scores on the selection data over training, with the best values of the searches."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from bilevel_hpo import plots
from bilevel_hpo.report._facts import ReportFacts
from bilevel_hpo.report._parts import PageFigure
from bilevel_hpo.report._words import capital, label

__all__ = ["validation"]


def validation(facts: ReportFacts) -> Iterator[PageFigure]:
    """Draws curves over epochs and over seconds, the latter with the best values of the searches."""
    history = facts.files.history
    history = None if history is None else history[np.isfinite(history["selection"])]
    if history is None or history.empty:
        return
    metric, upwards = facts.metric, facts.metric.higher_is_better
    long = history.rename(columns={"selection": "val"}).assign(method=history["method"].map(label))
    band = " Line: mean over the seeds; band: ± one standard deviation." if long["seed"].nunique() > 1 else ""
    details = [part for part in ("mean over tasks" if len(facts.tasks) > 1 else "", metric.note) if part]
    what = f"{', '.join([f'{capital(metric.name)} on the selection data', *details])}.{band}"
    cut = f" The first epochs may run off the {'bottom' if upwards else 'top'}; a double click shows all."
    title = f"{metric.name}, selection"
    over_epochs = plots.convergence_facts(long)
    heights = _late_range(over_epochs)
    figure = plots.convergence(long, label=title)
    figure.update_yaxes(range=heights, tickformat=".3~f" if heights[1] - heights[0] > 0.005 else None)
    yield PageFigure("validation-epoch", "Over epochs", what + cut, figure, over_epochs.to_frame(), 380)

    single = [label(method.name) for method in facts.methods if method.training_runs == 1]
    timed = long[np.isfinite(long["seconds"]) & long["method"].isin(single)]
    if timed.empty:
        return
    searches = _searches(facts)
    figure = plots.convergence(timed, x="seconds", label=title, searches=searches, maximize=upwards)
    figure.update_yaxes(range=heights, tickformat=".3~f" if heights[1] - heights[0] > 0.005 else None)
    caption = f"{what} An epoch stands at its mean time over the seeds."
    if searches is not None:
        figure.update_xaxes(type="log")
        caption += " Searches: best training so far, one after the other; the axis of seconds is logarithmic."
    if long["method"].nunique() > timed["method"].nunique():
        caption += " Methods of several trainings have no curve of their own here."
    over_seconds = plots.convergence_facts(timed, x="seconds", searches=searches, maximize=upwards)
    yield PageFigure("validation-seconds", "Over seconds", caption + cut, figure, over_seconds.to_frame(), 380)


def _searches(facts: ReportFacts) -> pd.DataFrame | None:
    """Returns the trials of the searches with a finite score; None without one."""
    trials = facts.files.trials
    if trials is None:
        return None
    trials = trials[trials["wall_s"] >= 0]
    scores = trials["selection"].where(np.isfinite(trials["selection"]))
    found = trials.assign(val=scores, seconds=trials["wall_s"], method=trials["method"].map(label))
    found = found[found.groupby("method")["val"].transform("count") > 0]
    return found[["method", "seed", "seconds", "val"]] if len(found) else None


def _late_range(facts: plots.ConvergenceFacts) -> list[float]:
    """Returns the range of the last four fifths of the epochs: the start is far away and hides all differences."""
    late = [(curve.mean[len(curve.mean) // 5 :], curve.std[len(curve.std) // 5 :]) for curve in facts.curves.values()]
    low = min(float(np.nanmin(mean - std)) for mean, std in late)
    high = max(float(np.nanmax(mean + std)) for mean, std in late)
    pad = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return [low - pad, high + pad]
