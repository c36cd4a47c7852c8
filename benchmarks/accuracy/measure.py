"""One training, with every estimator's error at its states."""

import math
from typing import Any

import torch
from torch import Tensor

from accuracy.judge import exact
from accuracy.networks import NETWORKS
from accuracy.zoo import STATES, Setting, Training, begin
from bilevel_hpo import BilevelLearner, FiniteDifference, Hypergradient, OneStep, Unrolled

__all__ = ["ESTIMATORS", "STEP", "measure"]

ESTIMATORS: dict[str, Hypergradient | None] = {
    "default": None,
    "OneStep, unchecked": OneStep(tolerance=None),
    "FiniteDifference": FiniteDifference(),
    "FiniteDifference, unchecked": FiniteDifference(tolerance=None),
    "FiniteDifference, central, unchecked": FiniteDifference(central=True, tolerance=None),
    "Unrolled(1)": Unrolled(1),
}
STEP = "default, in learner.step"
"""The hypergradient that `learner.step` computes for the step that it takes."""


def measure(setting: Setting, states: tuple[int, ...] = STATES) -> dict[str, Any]:
    """Trains `setting` and looks at it before the steps `states`.

    Returns:
        {"training": its name, "network", "optimizer", "role", "states": one dict for each state}. An estimator's entry
        holds `error` ‖g − g64‖/‖g64‖ (None where ‖g64‖ is 0), `cosine`, `zero` (all of g is exactly 0), and what the
        estimator says of it: `certificate`, `computed_in` and `certified`, as in the history. The training ends early
        where its loss is no longer finite.
    """
    torch.set_num_threads(1)
    training = begin(setting)
    learners = {name: _learner(training, estimator) for name, estimator in ESTIMATORS.items()}
    default, rows = learners["default"], []
    last = min(NETWORKS[setting.network].last, max(states))
    for step in range(last + 1):
        train_batch, val_batch = next(training.batches)
        if step not in states:
            loss = default.inner_step(train_batch)
        else:
            lambda_ = training.weights().detach().clone()
            reference = exact(training, lambda_, train_batch, val_batch)
            row = {"step": step, "norm": float(reference.norm())}
            for name, learner in learners.items():
                g = learner.hypergradient(train_batch, val_batch).flatten()
                row[name] = {**_compared(g, reference), **_said(learner)}
            loss = default.step(train_batch, val_batch)
            g = torch.tensor(default.history.iloc[-1].filter(regex="^g:").to_numpy(dtype=float))
            row[STEP] = {**_compared(g, reference), **_said(default)}
            rows.append(row)
        if not bool(loss.isfinite()):
            break
    about = {"network": setting.network, "optimizer": setting.optimizer, "role": setting.role}
    return {"training": str(setting), **about, "states": rows}


def _learner(training: Training, estimator: Hypergradient | None) -> BilevelLearner:
    """One whose outer steps leave λ where it is, so that all estimators see the same training."""
    return BilevelLearner(
        training.model,
        training.optimizer,
        training.weights,
        train_loss=training.train_loss,
        lambda_terms=training.lambda_terms,
        val_loss=training.val_loss,
        hypergradient=estimator,
        outer_optimizer=torch.optim.SGD(training.weights.parameters(), lr=0.0),
    )


def _compared(g: Tensor, reference: Tensor) -> dict[str, Any]:
    g, size = g.double(), float(reference.norm())
    error = float((g - reference).norm())
    cosine = float(torch.nn.functional.cosine_similarity(g, reference, dim=0))
    return {"error": error / size if size else None, "cosine": cosine, "zero": not bool(g.any())}


def _said(learner: BilevelLearner) -> dict[str, Any]:
    """What the estimator says of its last result; float32 and certified where it says nothing."""
    said = learner.certificate
    if said is None:
        return {"certificate": None, "computed_in": "float32", "certified": True}
    error = said.error if math.isfinite(said.error) else None
    return {"certificate": error, "computed_in": said.computed_in, "certified": said.certified}
