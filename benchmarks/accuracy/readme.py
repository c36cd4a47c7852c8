"""The README's example with one `BatchNorm1d` added: does λ still find the signal?"""

import torch
from torch import nn

from bilevel_hpo import BilevelLearner, Budget, FiniteDifference, Hypergradient, LossWeights, OneStep

__all__ = ["readme"]


def readme(seeds: int = 4) -> dict[str, list[float]]:
    """λ of "signal" at the end for each seed, by estimator."""
    estimators = {"default": None, "OneStep": OneStep(), "FiniteDifference": FiniteDifference()}
    return {name: [_signal(estimator, seed) for seed in range(seeds)] for name, estimator in estimators.items()}


def _signal(estimator: Hypergradient | None, seed: int) -> float:
    torch.manual_seed(seed)
    x = torch.randn(512, 8)
    y = torch.stack([x.sum(1), torch.randn(512)], 1)
    model = nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.Tanh(), nn.Linear(32, 2))
    weights = LossWeights(["signal", "noise"], constraint=Budget(total=1.0))
    learner = BilevelLearner(
        model,
        torch.optim.AdamW(model.parameters(), lr=1e-2),
        weights,
        train_loss=lambda model, w, b: w @ (model(b[0]) - b[1]).square().mean(0),
        val_loss=lambda model, w, b: (model(b[0]) - b[1])[:, 0].square().mean(),
        hypergradient=estimator,
        outer_optimizer=torch.optim.Adam(weights.parameters(), lr=0.05),
    )
    learner.fit([(x[:256], y[:256])], [(x[256:], y[256:])], epochs=200, outer_every=1)
    return round(float(weights().detach()[0]), 4)
