"""What must be said beside the columns of predictions."""

from collections.abc import Iterator

import numpy as np

from gate_model.predictor.headers import headers, title
from gate_model.predictor.intervals import fewest
from gate_model.predictor.saved_model import SavedModel

__all__ = ["remarks"]


def remarks(model: SavedModel, coverage: float) -> Iterator[str]:
    """A line for everything that a reader of the columns would miss: intervals that are absent or unbounded, tasks
    whose columns have another name than in the data.
    """
    columns = headers(model.tasks)
    if model.intervals is None:
        yield "no intervals, no nearest training molecules: an earlier version saved this model; train it again"
    else:
        factors = model.intervals.factors(coverage)
        few = [
            f"{names.value} ({len(scores)})"
            for names, scores, factor in zip(columns, model.intervals.scores, factors, strict=True)
            if np.isinf(factor)
        ]
        if few:
            yield (
                f"unbounded intervals: {coverage:.4g} of the labels inside needs {fewest(coverage)} selection labels, "
                f"and fewer are there for {', '.join(few)}"
            )
    for task, names in zip(model.tasks, columns, strict=True):
        if names.value != title(task):
            yield f"{title(task)!r} of the data is called {names.value!r} here: another column has that name"
