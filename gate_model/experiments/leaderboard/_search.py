"""TPE over a few λ, one training a trial."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import optuna

from bilevel_hpo import search
from gate_model.data.prepared import PreparedData
from gate_model.experiments.leaderboard._answer import Answer, Assignment, of_model
from gate_model.methods import Constant
from gate_model.training import train

__all__ = ["GROUPS", "TpeSearch", "by_labels", "of_groups"]

GROUPS = ("few", "some", "many")


@dataclass(frozen=True)
class TpeSearch:
    """Three λ in [0, 1], one for the targets with few, some and many train labels; chosen on the selection molecules.

    A λ for each pair, or for each target, is out of reach of 20 trials; how many labels a target has is what should
    decide how much it needs those of others. The winner is trained once more, and counted; a trial's seconds include
    the evaluation on the selection molecules.
    """

    trials: int = 20

    def __call__(self, assignment: Assignment) -> Answer:
        """Goes on from the trials in the folder's journal."""
        data, settings, seed = assignment.data, assignment.settings, assignment.seed
        groups = by_labels(data)

        def method(values: Mapping[str, float]) -> Constant:
            return Constant("tpe", "", of_groups(groups, [values[name] for name in GROUPS]))

        def objective(values: Mapping[str, float]) -> float:
            return train(data, method(values), settings, seed=seed).val_rmse

        def done(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
            assignment.tick()

        study = search.tpe(
            objective,
            dict.fromkeys(GROUPS, (0.0, 1.0)),
            assignment.folder / f"tpe-seed{seed}.journal",
            trials=self.trials,
            seed=seed,
            callbacks=[done],
        )
        best = method(study.best_params)
        trained = train(data, best, settings, seed=seed)
        spent = [search.seconds_of(trial) for trial in search.trials(study)]
        matrix = best.ratios(data.abbreviations)().detach()
        curve = [row["val_rmse"] for row in trained.history]
        return Answer(
            of_model(data, trained.model),
            sum(spent) + trained.seconds,
            self.trials + 1,
            matrix.fill_diagonal_(1),
            curve,
        )


def by_labels(data: PreparedData) -> list[int]:
    """The group of every task `[T]`: its third in the order of train labels, 0 for the fewest."""
    counts = np.isfinite(data.labels[data.split.train]).sum(0)
    order = np.argsort(counts, kind="stable")
    groups = np.empty(len(counts), dtype=int)
    groups[order] = np.arange(len(counts)) * len(GROUPS) // len(counts)
    found: list[int] = groups.tolist()
    return found


def of_groups(groups: list[int], values: list[float]) -> tuple[tuple[float, ...], ...]:
    """λ `[targets][sources]`: each target's row is its group's value."""
    return tuple(tuple(values[group] for _ in groups) for group in groups)
