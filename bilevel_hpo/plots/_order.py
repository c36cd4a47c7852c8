"""An order of tasks that places those that teach each other side by side."""

import numpy as np
import pandas as pd

__all__ = ["cluster_order"]


def cluster_order(frame: pd.DataFrame) -> tuple[str, ...]:
    """Orders the names of `frame` so that tasks with large λ between them, in either direction, are neighbours.

    Average linkage on the distance max − (λ_{s→t} + λ_{t→s}) / 2, then the order of the leaves that keeps neighbours
    closest (Bar-Joseph et al., 2001). NaN counts as 0, and the diagonal is ignored. One frame has one order.

    Args:
        frame: a table with targets as index and sources as columns: the same names, each once, in any order.

    Raises:
        ValueError: the index and the columns have different names.
    """
    from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering  # noqa: PLC0415  0.3 s
    from scipy.spatial.distance import squareform  # noqa: PLC0415

    names = [str(name) for name in frame.index]
    sources = [str(name) for name in frame.columns]
    if sorted(names) != sorted(sources) or len(set(names)) < len(names):
        only = sorted(set(names) ^ set(sources))
        raise ValueError(f"targets and sources are not the same names, each once: {only or names}; the order needs it")
    if len(names) < 3:
        return tuple(names)
    columns = [sources.index(name) for name in names]
    values = np.nan_to_num(frame.to_numpy(dtype=np.float64, na_value=np.nan)[:, columns])
    both = (values + values.T) / 2
    np.fill_diagonal(both, both.min())
    distance = both.max() - both
    np.fill_diagonal(distance, 0)
    condensed = squareform(distance, checks=False)
    leaves = leaves_list(optimal_leaf_ordering(linkage(condensed, "average"), condensed))
    return tuple(names[leaf] for leaf in leaves)
