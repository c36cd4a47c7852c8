"""Read the data of figures from a learner: its `history`, `epochs`, `trajectory` and `weights`."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from bilevel_hpo.learner import BilevelLearner

__all__ = ["Lambdas", "Matrix", "Runs", "array", "lambda_path", "matrix", "validation_table"]

Lambdas = BilevelLearner | Tensor | tuple[Tensor, ...] | dict[str, Tensor] | NDArray[Any] | pd.DataFrame
"""λ over a training: a learner, its `trajectory` or `history`, or a table with a row per epoch and a column per λ."""

Matrix = BilevelLearner | torch.nn.Module | Tensor | pd.DataFrame
"""λ of all pairs: a learner, its weights (`TransferRatios`), its `trajectory`, or a table of targets × sources."""

Runs = BilevelLearner | pd.DataFrame | Sequence[Any] | Mapping[str, Any]
"""Trainings: a learner, its `epochs` or `history`; a list of such, one per seed; or a dict of such by method."""

_LAMBDA = "lambda:"
_HISTORY = {"outer_step", "g_norm"}
_EPOCHS = {"epoch", "train_loss", "outer_steps"}


def array(values: object) -> NDArray[np.float64]:
    """Converts a tensor to NumPy, from any device and with or without a graph."""
    return np.asarray(values.detach().double().cpu().numpy() if isinstance(values, Tensor) else values, dtype=float)


def lambda_path(given: object) -> pd.DataFrame:
    """Returns λ over a training: a row per moment, a column per λ; the name of the index is the unit of the rows.

    Raises:
        TypeError: the argument is neither a learner nor one of its frames, tensors or tables.
        ValueError: a frame of the learner has no λ.
    """
    if isinstance(given, BilevelLearner):
        return pd.DataFrame(_columns(given.trajectory).to_numpy(), columns=given.labels).rename_axis("epoch")
    if isinstance(given, pd.DataFrame):
        return _of_frame(given)
    if isinstance(given, Tensor | np.ndarray) or _holds_tensors(given):
        return _columns(given).rename_axis("epoch")
    raise TypeError(
        f"λ over the epochs must be a learner, its trajectory or history, or a DataFrame with a row per epoch and "
        f"a column per λ; got a {type(given).__name__}"
    )


def matrix(given: object) -> pd.DataFrame:
    """Returns λ of all pairs, with targets as index and sources as columns.

    Raises:
        TypeError: the argument has no λ.
        ValueError: it has λ, but not as a matrix.
    """
    if isinstance(given, pd.DataFrame):
        if any(str(name).startswith(_LAMBDA) for name in given.columns) or set(given.columns) >= _EPOCHS:
            raise ValueError(
                f"the frame must have a row per target; got the columns {_some(given)}. Pass the learner itself, "
                "or a DataFrame with targets as its index and sources as its columns"
            )
        return given
    if isinstance(given, Tensor):
        if given.ndim != 3 or not len(given):
            raise ValueError(
                f"got a tensor of shape {tuple(given.shape)}; learner.trajectory of a λ [targets, sources] has three "
                "dimensions (its last entry is drawn): pass that, the learner, or a DataFrame"
            )
        return pd.DataFrame(array(given[-1])).rename(index=str, columns=str)
    weights = given.weights if isinstance(given, BilevelLearner) else given
    if isinstance(weights, torch.nn.Module):
        if callable(getattr(weights, "to_frame", None)):
            frame: pd.DataFrame = weights.to_frame()  # type: ignore[operator]
            return frame
        raise ValueError(
            f"λ of {type(weights).__name__} is not a matrix of targets × sources; that of TransferRatios is (of a "
            "WeightsDict, pass the entry that is one). plots.trajectory draws any λ"
        )
    raise TypeError(
        f"λ of all pairs must be a learner, its TransferRatios, or a DataFrame with targets as its index and "
        f"sources as its columns; got a {type(given).__name__}"
    )


def validation_table(given: object, name: str = "learned λ") -> pd.DataFrame:
    """A row per method, seed and epoch: method, seed, epoch, seconds, val; a table that is none of a learner's is
    returned as it is.

    Raises:
        TypeError: the argument is neither a learner nor one of its frames, nor lists of them.
        ValueError: one of them has no validation loss, or the list is empty.
    """
    if isinstance(given, pd.DataFrame) and "val_loss" not in given.columns:
        return given
    methods: dict[Any, Any] = dict(given) if isinstance(given, Mapping) else {name: given}
    tables = [
        _validation(run).assign(method=str(method), seed=seed)
        for method, runs in methods.items()
        for seed, run in enumerate(runs if _is_list(runs) else [runs])
    ]
    if not tables:
        raise ValueError(f"at least one training must be given; got {given!r}")
    return pd.concat(tables, ignore_index=True)[["method", "seed", "epoch", "seconds", "val"]]


def _validation(run: object) -> pd.DataFrame:
    """Returns epoch, seconds and val of one training, where val is known."""
    frame = run.epochs if isinstance(run, BilevelLearner) else run
    if not isinstance(frame, pd.DataFrame):
        raise TypeError(
            f"a training must be a learner, its epochs or its history; got a {type(run).__name__}. A list "
            "of them, one per seed, or a dict of such lists by method, may be given too"
        )
    missing = [name for name in ("epoch", "seconds", "val_loss") if name not in frame.columns]
    if missing:
        raise ValueError(f"a training lacks the columns {missing}; it has {_some(frame)}")
    if set(frame.columns) >= _HISTORY:  # a row per outer step
        taken = frame[~frame["skipped"].astype(bool)]
        frame = taken.groupby("epoch", as_index=False).agg(seconds=("seconds", "max"), val_loss=("val_loss", "mean"))
    known = frame.loc[frame["val_loss"].notna(), ["epoch", "seconds", "val_loss"]]
    if known.empty:
        raise ValueError(
            f"a training has no validation loss in any of its {len(frame)} epochs; fit(..., validate=True), or outer "
            "steps, give one"
        )
    return known.rename(columns={"val_loss": "val"})


def _of_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """Returns λ in a DataFrame: those of `history`, or all columns if the frame is not one of the learner's."""
    found = [name for name in frame.columns if str(name).startswith(_LAMBDA)]
    if found:
        path = frame[found].rename(columns=lambda name: str(name).removeprefix(_LAMBDA))
        if "outer_step" in frame.columns:
            path.index = pd.Index(frame["outer_step"], name="outer step")
        return path
    if set(frame.columns) >= _HISTORY:
        raise ValueError("history has no λ: the learner has taken no outer step; pass the learner itself")
    if set(frame.columns) >= _EPOCHS:
        raise ValueError(
            f"learner.epochs has no λ, it has {_some(frame)}; pass the learner, learner.trajectory or learner.history"
        )
    return frame


def _columns(trajectory: Any) -> pd.DataFrame:
    """Returns a trajectory `[steps, *shape]` as a column per λ, named by position, and for several λ also by name."""
    if isinstance(trajectory, Tensor | np.ndarray):
        values = array(trajectory)
        if not values.ndim:
            raise ValueError("λ over the epochs must have shape [epochs + 1, *λ.shape]; got a scalar")
        places = [",".join(map(str, place)) or "0" for place in np.ndindex(values.shape[1:])]
        return pd.DataFrame(values.reshape(len(values), -1), columns=places)
    named = trajectory if isinstance(trajectory, dict) else dict(enumerate(cast(tuple[Tensor, ...], trajectory)))
    return pd.concat([_columns(part).add_prefix(f"{name}.") for name, part in named.items()], axis=1)


def _holds_tensors(given: object) -> bool:
    parts: Iterable[Any] = given.values() if isinstance(given, dict) else given if isinstance(given, tuple) else ()
    found = list(parts)
    return bool(found) and all(isinstance(part, Tensor) and part.ndim for part in found)


def _is_list(given: object) -> bool:
    return isinstance(given, Sequence) and not isinstance(given, str)


def _some(frame: pd.DataFrame) -> list[str]:
    """Returns the names of the first columns."""
    names = [str(name) for name in frame.columns]
    return names if len(names) <= 8 else [*names[:8], "…"]
