"""Methods that train GATE: with the same network, optimizer and batches, but different weights of the losses."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from gate_model.data.batches import LabelledMolecules
from gate_model.data.prepared import PreparedData
from gate_model.data.splits import Split
from gate_model.experiments.leaderboard._answer import Answer, Assignment, Predict, columns, of_model
from gate_model.training.methods import Method, constant, relative
from gate_model.training.train import train, train_by_rule
from gate_model.training.weighting import Rule

__all__ = ["GateTraining", "SingleTasks", "WeightedByRule", "only_task"]


@dataclass(frozen=True)
class GateTraining:
    """Trains GATE once with a constant or learned λ.

    Args:
        method: how λ is chosen.
        changes: fields of `Settings` that differ for this method.
    """

    method: Method
    changes: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, assignment: Assignment) -> Answer:
        """Train; the answer has the final λ, and its trajectory if it is learned."""
        data, settings = assignment.data, replace(assignment.settings, **self.changes)
        trained = train(data, self.method, settings, seed=assignment.seed)
        learned = self.method.learning is not None
        return Answer(
            of_model(data, trained.model),
            trained.seconds,
            lambda_=relative(trained.ratios),
            curve=trained.history,
            trajectory=torch.stack([relative(step) for step in trained.trajectory]) if learned else None,
        )


@dataclass(frozen=True)
class WeightedByRule:
    """Trains GATE once under a weighting rule, on the losses themselves.

    Logarithms balance the losses already, which is the work of the rule.

    Args:
        rule: a function that makes the rule from the number of tasks.
    """

    rule: Callable[[int], Rule]

    def __call__(self, assignment: Assignment) -> Answer:
        """Train; the answer has no λ, because the rule weights the targets."""
        settings = replace(assignment.settings, relative_losses=False)
        trained = train_by_rule(assignment.data, self.rule, settings, seed=assignment.seed)
        return Answer(of_model(assignment.data, trained.model), trained.seconds, curve=trained.history)


@dataclass(frozen=True)
class SingleTasks:
    """Trains one network for each task, on the molecules of that task only.

    Each training has as many steps as the training of all tasks together. With as many epochs, small tasks would not be
    trained enough, because their epochs have fewer steps.
    """

    def __call__(self, assignment: Assignment) -> Answer:
        """Train T networks."""
        data, settings = assignment.data, assignment.settings
        steps = settings.epochs * steps_per_epoch(data, settings.batch_size)
        seconds, models = 0.0, list[Predict]()
        for column in range(len(data.abbreviations)):
            alone = only_task(data, column)
            epochs = -(-steps // steps_per_epoch(alone, settings.batch_size))
            trained = train(alone, constant("single", "", 0.0), replace(settings, epochs=epochs), seed=assignment.seed)
            models.append(of_model(data, trained.model))
            seconds += trained.seconds
        return Answer(columns(models), seconds, training_runs=len(models))


def steps_per_epoch(data: PreparedData, batch_size: int) -> int:
    """Return the number of batches in an epoch. A last batch of one molecule is joined to the batch before it."""
    full, rest = divmod(len(data.split.train), batch_size)
    return max(full + (rest > 1), 1)


def only_task(data: PreparedData, column: int) -> PreparedData:
    """Return the data of one task, with the molecules that carry its label; the split and the scaling stay the same."""
    keep = np.isfinite(data.labels[:, column])
    place = np.cumsum(keep) - 1
    split = Split(*(place[rows[keep[rows]]] for rows in vars(data.split).values()))
    rows = np.flatnonzero(keep)
    labels = data.labels[rows][:, [column]]
    molecules = LabelledMolecules.from_labels(data.some(rows)[0], labels)
    table = data.table.select([data.abbreviations[column]])
    return replace(data, table=table, molecules=molecules, labels=labels, split=split)
