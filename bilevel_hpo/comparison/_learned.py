"""The method that learns λ by hypergradient within the training."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import nn

from bilevel_hpo.comparison._plans import OneTraining
from bilevel_hpo.comparison._setting import Setting
from bilevel_hpo.hypergradients import Hypergradient, OneStep

__all__ = ["Learned"]


@dataclass(frozen=True)
class Learned:
    """Learns λ during one training."""

    name: str = "learned"
    title: str = "learned in one training"
    hypergradient: Hypergradient = field(default_factory=OneStep)
    outer_lr: float = 0.02
    """The learning rate of Adam on the raw parameters of λ."""
    outer_every: int | Literal["epoch"] = 8
    """The schedule of outer steps, as in `BilevelLearner.fit`."""
    warm_up: float = 0.25
    """The share of all inner steps before the first outer step: until then hypergradients show what is good for the
    next steps, and not for the end."""
    weights: nn.Module | None = None
    """λ with another constraint or start than in the comparison, of the same shape."""
    learner: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of `BilevelLearner`, such as `clip`."""

    group: ClassVar[str] = "learned"

    def trainings(self, setting: Setting) -> int:
        """One."""
        return 1

    def plan(self, setting: Setting, seed: int) -> OneTraining:
        """Plans one training without a given λ."""
        return OneTraining(self.name, seed, None)

    def start(self, weights: nn.Module) -> nn.Module:
        """Returns a copy of λ before the training."""
        return copy.deepcopy(weights if self.weights is None else self.weights)

    def options(self, weights: nn.Module) -> dict[str, Any]:
        """Returns the arguments of `BilevelLearner` that control how λ is learned."""
        outer = torch.optim.Adam(weights.parameters(), lr=self.outer_lr)
        return {"hypergradient": copy.deepcopy(self.hypergradient), "outer_optimizer": outer, **self.learner}

    def schedule(self, inner_steps: int) -> dict[str, Any]:
        """Returns the arguments of `BilevelLearner.fit` for a training of `inner_steps`."""
        return {"outer_every": self.outer_every, "warm_up": round(self.warm_up * inner_steps)}
