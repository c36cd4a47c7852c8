"""Ridge regression with one weight decay per group of features, learned by hypergradient."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import optuna
import optunahub


def make_data() -> tuple[np.ndarray, np.ndarray]:
    """Return 120 rows of 40 features, of which the first 5 matter, and their targets."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 40))
    return x, x[:, :5].sum(axis=1) + rng.normal(size=120)


def objective(trial: optuna.Trial) -> float:
    """Train on 60 rows; return the validation loss on the others, report its hypergradient."""
    groups = {"signal": slice(0, 5), "noise": slice(5, 40)}
    decay = {name: trial.suggest_float(name, 1e-4, 1e2, log=True) for name in groups}
    x, y = make_data()

    # The inner training, here in closed form: mean squared error plus the decays.
    hessian = x[:60].T @ x[:60] / 60
    for name, group in groups.items():
        hessian[group, group] += decay[name] * np.eye(group.stop - group.start)
    theta = np.linalg.solve(hessian, x[:60].T @ y[:60] / 60)
    residual = x[60:] @ theta - y[60:]

    # The implicit hypergradient: how the validation loss answers to each decay through theta.
    adjoint = np.linalg.solve(hessian, 2 * x[60:].T @ residual / 60)
    gradient = {name: -float(adjoint[group] @ theta[group]) for name, group in groups.items()}
    trial.set_user_attr("hypergradient", gradient)
    return float(np.mean(residual**2))


if __name__ == "__main__":
    folder = Path(__file__).resolve().parent
    module = optunahub.load_local_module(folder.name, registry_root=str(folder.parent))
    study = optuna.create_study(sampler=module.HypergradientSampler(lr=0.5))
    study.optimize(objective, n_trials=40)
    print(study.best_value, study.best_params)
