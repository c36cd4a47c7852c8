"""The data of the landscape figures: points, their values, the best, and the path of λ."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import optuna
import pandas as pd
from numpy.typing import NDArray
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from torch import Tensor

from bilevel_hpo.learner import BilevelLearner
from bilevel_hpo.plots._sources import Lambdas, array, lambda_path

__all__ = ["LandscapeFacts", "Learned", "drawn_facts", "landscape_facts"]

Learned = Lambdas | Mapping[str, float] | Sequence[Any] | None
"""Learned λ: the path of a learner, a point, or several paths."""


@dataclass(frozen=True, eq=False)
class LandscapeFacts:
    """Everything that `landscape` draws and `slices` cuts.

    The λ drawn are `params`, P of them; N points; trajectories of any length.
    """

    params: tuple[str, ...]
    points: NDArray[np.float64]
    """λ of each point, `[N, P]`."""
    values: NDArray[np.float64]
    """Objective at each point, `[N]`; the mean if a point was evaluated several times."""
    std: NDArray[np.float64]
    """Sample standard deviation (ddof = 1) of those evaluations, `[N]`; NaN where there was one."""
    counts: NDArray[np.int64]
    """Evaluations behind each point, `[N]`."""
    seconds: NDArray[np.float64]
    """Seconds of one evaluation, `[N]`, the mean of those known; NaN where none is."""
    groups: tuple[str, ...]
    """The origin of each point, `[N]`, such as "grid" or "tpe"; one name for a study."""
    best: Mapping[str, int]
    """Index of the best point of each group."""
    trajectories: tuple[NDArray[np.float64], ...]
    """Learned λ, one `[steps, P]` each, first to last; a single step is a point."""
    names: tuple[str, ...]
    """Names of the trajectories; those with one name share a colour."""
    objective: str = "objective"
    """The meaning of the colour."""
    maximize: bool = False
    """Whether larger values are better."""

    @property
    def optimum(self) -> int:
        """The index of the best point of all."""
        return max(self.best.values(), key=lambda row: self.values[row] if self.maximize else -self.values[row])

    def to_frame(self) -> pd.DataFrame:
        """Returns a row per point and trajectory step: what, group, step, λ:<name>, objective, std, n, seconds."""
        points = pd.DataFrame(self.points, columns=[f"λ:{name}" for name in self.params])
        points = points.assign(objective=self.values, std=self.std, n=self.counts, seconds=self.seconds)
        points.insert(0, "what", ["best" if row in self.best.values() else "point" for row in range(len(self.values))])
        points.insert(1, "group", self.groups)
        steps = [
            pd.DataFrame(path, columns=points.columns[2 : 2 + len(self.params)]).assign(
                what="trajectory", group=name, trajectory=number, step=np.arange(len(path))
            )
            for number, (name, path) in enumerate(zip(self.names, self.trajectories, strict=True))
        ]
        return pd.concat([points, *steps], ignore_index=True)

    @classmethod
    def from_frame(
        cls,
        trials: pd.DataFrame,
        params: Sequence[str],
        value: str,
        *,
        group: str | None = None,
        seconds: str | None = None,
        learned: object = None,
        names: Sequence[str] | None = None,
        maximize: bool = False,
        objective: str | None = None,
    ) -> "LandscapeFacts":
        """Makes facts from a table with one row per complete trial; equal λ of a group become one point, mean ± std.

        Args:
            trials: a table with the columns `params`, `value` and optionally `group`. Rows with a non-finite value
                are left out.
            params: the columns to draw, at least two; `landscape` draws two or three, `slices` up to six.
            value: the column of the objective.
            group: a column with the kind of each trial; each kind has its own best point.
            seconds: a column with the seconds that each trial took.
            learned: as in `landscape`.
            names: one name for each trajectory in `learned`, for instance its method; by default "learned λ".
            maximize: whether larger values are better.
            objective: the title of the colour bar; by default the name of the column.

        Raises:
            ValueError: a column is missing, no trial is finite, or `params` are not different names.
        """
        axes = _different(params)
        missing = [name for name in (*axes, value, *filter(None, (group, seconds))) if name not in trials.columns]
        if missing:
            raise ValueError(f"trials lack the columns {missing}; they have {list(trials.columns)}")
        return _facts(
            axes,
            trials[list(axes)].to_numpy(dtype=np.float64),
            trials[value].to_numpy(dtype=np.float64),
            [str(kind) for kind in trials[group]] if group else ["trials"] * len(trials),
            trials[seconds].to_numpy(dtype=np.float64) if seconds else np.full(len(trials), np.nan),
            learned,
            names=names,
            maximize=maximize,
            objective=value if objective is None else objective,
        )


def drawn_facts(study: optuna.Study | LandscapeFacts, learned: object, params: Sequence[str] | None) -> LandscapeFacts:
    """Returns `landscape_facts` of a study; facts are returned unchanged."""
    if not isinstance(study, LandscapeFacts):
        return landscape_facts(study, learned, params=params)
    if learned is not None or params is not None:
        raise ValueError("learned and params are part of LandscapeFacts; give them to LandscapeFacts.from_frame")
    return study


def landscape_facts(
    study: optuna.Study, learned: object = None, *, params: Sequence[str] | None = None
) -> LandscapeFacts:
    """Returns what `landscape` draws for a study; the arguments and errors are the same."""
    if not isinstance(study, optuna.Study):
        raise TypeError(
            f"study must be an Optuna study or LandscapeFacts; got a {type(study).__name__} (pass a learner as "
            "learned=...)"
        )
    if len(study.directions) != 1:
        raise ValueError(f"study must have one objective; got {len(study.directions)}")
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    recorded = [trial for trial in complete if trial.user_attrs.get("learned")]
    trials = [trial for trial in complete if not trial.user_attrs.get("learned")]
    if not trials:
        raise ValueError(f"study {study.study_name!r} must have at least one complete trial; it has none")
    axes = _chosen(trials, params)
    beside = tuple(_path(trial.params, axes) for trial in recorded if set(axes) <= set(trial.params))
    return _facts(
        axes,
        np.array([[trial.params[name] for name in axes] for trial in trials], dtype=np.float64),
        np.array([trial.value for trial in trials], dtype=np.float64),
        ["trials"] * len(trials),
        np.array([_seconds(trial) for trial in trials]),
        [*_trajectories(learned, axes), *beside],
        names=None,
        maximize=study.direction is StudyDirection.MAXIMIZE,
        objective="objective",
    )


def _facts(
    axes: tuple[str, ...],
    points: NDArray[np.float64],
    values: NDArray[np.float64],
    kinds: Sequence[str],
    seconds: NDArray[np.float64],
    learned: object,
    *,
    names: Sequence[str] | None,
    maximize: bool,
    objective: str,
) -> LandscapeFacts:
    """Merges equal points of one kind and finds the best of each kind."""
    found: dict[tuple[str, tuple[float, ...]], list[int]] = {}
    for row, (kind, point) in enumerate(zip(kinds, points, strict=True)):
        if np.isfinite(point).all() and np.isfinite(values[row]):
            found.setdefault((kind, tuple(map(float, point))), []).append(row)
    if not found:
        raise ValueError(f"none of the {len(points)} trials has a finite objective and finite {list(axes)}")
    groups = tuple(kind for kind, _ in found)
    means = np.array([np.mean(values[rows]) for rows in found.values()])
    best: dict[str, int] = {}
    for row, kind in enumerate(groups):
        if kind not in best or (means[row] > means[best[kind]] if maximize else means[row] < means[best[kind]]):
            best[kind] = row
    trajectories = _trajectories(learned, axes)
    if names is not None and len(names) != len(trajectories):
        raise ValueError(f"names must have one entry for each of {len(trajectories)} trajectories; got {len(names)}")
    return LandscapeFacts(
        params=axes,
        points=np.array([point for _, point in found]),
        values=means,
        std=np.array([np.std(values[rows], ddof=1) if len(rows) > 1 else np.nan for rows in found.values()]),
        counts=np.array([len(rows) for rows in found.values()]),
        seconds=np.array([_mean_of_known(seconds[rows]) for rows in found.values()]),
        groups=groups,
        best=best,
        trajectories=trajectories,
        names=tuple(names) if names is not None else ("learned λ",) * len(trajectories),
        objective=objective,
        maximize=maximize,
    )


def _seconds(trial: FrozenTrial) -> float:
    """Returns the seconds of a trial; NaN if it was added by hand, since Optuna then sets both of its times."""
    taken = trial.duration
    return taken.total_seconds() if taken else np.nan


def _mean_of_known(seconds: NDArray[np.float64]) -> float:
    known = seconds[np.isfinite(seconds)]
    return float(known.mean()) if len(known) else np.nan


def _chosen(trials: Sequence[FrozenTrial], params: Sequence[str] | None) -> tuple[str, ...]:
    numeric = [name for name in trials[0].params if all(_is_number(trial.params.get(name)) for trial in trials)]
    if params is None:
        if len(numeric) < 2:
            raise ValueError(f"study must have at least two numeric parameters; it has {numeric}")
        return tuple(numeric)
    unknown = [name for name in params if name not in numeric]
    if unknown:
        raise ValueError(f"params {unknown} are not numeric in every complete trial; those that are: {numeric}")
    return _different(params)


def _different(params: Sequence[str]) -> tuple[str, ...]:
    if isinstance(params, str) or len(params) < 2 or len(set(params)) != len(params):
        raise ValueError(f"params must be two or more different names; got {params!r}")
    return tuple(params)


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _trajectories(learned: object, names: tuple[str, ...]) -> tuple[NDArray[np.float64], ...]:
    """Returns the paths in `learned`: one, several, or none; a list is several if its elements are paths."""
    learned = _plain(learned)
    if learned is None:
        return ()
    if isinstance(learned, np.ndarray):
        return tuple(_path(path, names) for path in learned) if learned.ndim == 3 else (_path(learned, names),)
    if isinstance(learned, Iterable) and not isinstance(learned, Mapping | pd.DataFrame | pd.Series | str):
        items = [_plain(item) for item in learned]
        if items and all(_is_path(item) for item in items):
            return tuple(_path(item, names) for item in items)
        return (_path(items, names),) if items else ()
    return (_path(learned, names),)


def _plain(learned: object) -> object:
    """Converts a learner, its tensors and its frames to tables and arrays; anything else is unchanged."""
    if isinstance(learned, Tensor):
        values = array(learned)
        return values if values.ndim < 2 else values.reshape(len(values), -1)
    tensors = isinstance(learned, dict) and any(isinstance(part, Tensor) and part.ndim for part in learned.values())
    return lambda_path(learned) if tensors or isinstance(learned, BilevelLearner | pd.DataFrame) else learned


def _is_path(item: object) -> bool:
    if isinstance(item, pd.DataFrame):
        return True
    if isinstance(item, np.ndarray):
        return item.ndim == 2
    return isinstance(item, list | tuple) and bool(item) and not any(_is_number(entry) for entry in item)


def _path(learned: Any, names: tuple[str, ...]) -> NDArray[np.float64]:
    """Returns one trajectory `[steps, P]` from any of the forms that `landscape` takes."""
    if isinstance(learned, pd.DataFrame):
        _has(learned.columns, names)
        path = learned[list(names)].to_numpy(dtype=np.float64)
    elif isinstance(learned, Mapping | pd.Series):
        _has(learned.keys(), names)
        path = np.array([[learned[name] for name in names]], dtype=np.float64)
    elif isinstance(learned, list | tuple) and learned and all(isinstance(e, Mapping | pd.Series) for e in learned):
        path = np.concatenate([_path(step, names) for step in learned])
    else:
        path = np.atleast_2d(np.asarray(learned, dtype=np.float64))
    if path.ndim != 2 or path.shape[1] != len(names) or not len(path):
        raise ValueError(f"learned λ must have shape (steps, {len(names)}) for {list(names)}; got {path.shape}")
    if not np.isfinite(path).all():
        raise ValueError(f"learned λ is not finite at step {int(np.flatnonzero(~np.isfinite(path).all(axis=1))[0])}")
    return path


def _has(keys: Iterable[Any], names: tuple[str, ...]) -> None:
    came = list(keys)
    missing = [name for name in names if name not in came]
    if missing:
        raise ValueError(f"learned λ lacks {missing}; it has {came}")
