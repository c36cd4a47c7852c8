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
    columns, tasks = model.columns, [column.task for column in model.columns]
    named = list(zip(columns, headers(tasks), strict=True))
    if any(column.model.intervals is None for column in columns):
        yield "no intervals, no nearest training molecules: an earlier version saved this model; train it again"
    else:
        few = [
            f"{names.value} ({len(column.model.intervals.scores[column.place])})"
            for column, names in named
            if column.model.intervals is not None and column.factor(coverage) == np.inf
        ]
        if few:
            yield (
                f"unbounded intervals: {coverage:.4g} of the labels inside needs {fewest(coverage)} selection labels, "
                f"and fewer are there for {', '.join(few)}"
            )
    for column, names in named:
        if names.value != title(column.task):
            yield f"{title(column.task)!r} of the data is called {names.value!r} here: another column has that name"
