"""The relations of one or more quantities as tables and as plain numbers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from paper_studies.meaning.chemistry import close_among
from paper_studies.meaning.pair_ranks import VIEWS
from paper_studies.meaning.relations import Agreement, Relations
from paper_studies.meaning.variance import PARTS

__all__ = ["agreement_facts", "as_facts", "matrix_table", "pairs_table", "seeds_table", "variance_table"]

Array = NDArray[np.float64]


def seeds_table(found: Mapping[str, Relations], seeds: Mapping[str, Sequence[int]]) -> pd.DataFrame:
    """Return one row for every two seeds, with the columns quantity, view, seed_a, seed_b and rho."""
    rows = [
        (name, view, seeds[name][a], seeds[name][b], rho)
        for name, each in found.items()
        for view in VIEWS
        for a, b, rho in each.seeds[view]
    ]
    return pd.DataFrame(rows, columns=["quantity", "view", "seed_a", "seed_b", "rho"])


def variance_table(found: Mapping[str, Relations]) -> pd.DataFrame:
    """Return the parts of the variance, with the columns quantity, part, variance and share."""
    rows = [
        (name, part, each.variance.parts[part], each.variance.shares[part])
        for name, each in found.items()
        for part in PARTS
    ]
    return pd.DataFrame(rows, columns=["quantity", "part", "variance", "share"])


def pairs_table(found: Mapping[str, Relations], tasks: Sequence[str], labels: Array) -> pd.DataFrame:
    """Return one row for each close pair: quantity, pair, kind, reason, its percentile in two views, labels (|ρ|)."""
    place = {task: index for index, task in enumerate(tasks)}
    rows = [
        (
            name,
            pair.name,
            pair.kind,
            pair.reason,
            *(each.chemistry[view]["all"].percentile[pair.name] for view in ("all pairs", "pairs alone")),
            labels[tuple(place[task] for task in sorted(pair.tasks))],
        )
        for name, each in found.items()
        for pair in close_among(tasks)
    ]
    columns = ["quantity", "pair", "kind", "reason", "percentile", "percentile_alone", "labels"]
    return pd.DataFrame(rows, columns=columns)


def matrix_table(values: Array, tasks: Sequence[str], name: str) -> pd.DataFrame:
    """Return one row for each pair, with the columns target, source, `name` (mean over seeds) and `name`_std."""
    mean, std = values.mean(0), values.std(0, ddof=1)
    rows = [(tasks[t], tasks[s], mean[t, s], std[t, s]) for t in range(len(tasks)) for s in range(len(tasks)) if t != s]
    return pd.DataFrame(rows, columns=["target", "source", name, f"{name}_std"])


def as_facts(each: Relations) -> dict[str, Any]:
    """Return the properties of one quantity for JSON."""
    return {
        "between_seeds": {
            view: {
                "mean": _plain(each.mean(view)),
                "std": _plain(each.std(view)),
                "reliability": each.reliability[view],
            }
            for view in VIEWS
        },
        "variance": {"shares": each.variance.shares, "same for all seeds": each.variance.stable},
        "p_pair": _plain(each.variance.p_pair),
        "chemistry": {
            view: {
                kind: {"pairs": len(found.percentile), "percentile": found.mean, "p": found.p}
                for kind, found in kinds.items()
            }
            for view, kinds in each.chemistry.items()
        },
        "labels": {view: agreement_facts(found) for view, found in each.labels.items()},
    }


def agreement_facts(found: Agreement) -> dict[str, float | None]:
    """Return the numbers for JSON."""
    return {"rho": _plain(found.rho), "p": _plain(found.p), "ceiling": found.ceiling}


def _plain(value: float) -> float | None:
    """Return None for NaN, which JSON does not have."""
    return None if np.isnan(value) else float(value)
