"""λ that is searched for the leaderboard: three, by how many labels a target has."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import nn

from bilevel_hpo import TransferRatios
from bilevel_hpo.comparison import Searched, tpe
from bilevel_hpo.search import Axis, Space
from gate_model.data.prepared import PreparedData

__all__ = ["GROUPS", "ByLabels", "by_labels", "tpe_by_labels"]

GROUPS = ("few", "some", "many")


@dataclass(frozen=True)
class ByLabels:
    """Three λ in [0, 1], one for the targets with few, some and many train labels.

    A λ for each pair, or for each target, is out of reach of 20 trials; how many labels a target has is what should
    decide how much it needs those of others.

    Args:
        groups: of every task, by seed.
    """

    groups: Mapping[int, tuple[int, ...]]

    def space(self, weights: nn.Module, seed: int = 0) -> Space:
        """Each target's row of λ is its group's."""
        ratios = cast(TransferRatios, weights)
        rows = torch.tensor(self.groups[seed])[:, None].expand(-1, len(ratios.sources))
        return Space(dict.fromkeys(GROUPS, Axis(0.0, 1.0)), ratios, torch.where(ratios.direct, -1, rows))


def tpe_by_labels(name: str, title: str, trials: int, datasets: Mapping[int, PreparedData]) -> Searched:
    """TPE over these, for the data of each seed."""
    axes = ByLabels({seed: tuple(by_labels(data)) for seed, data in datasets.items()})
    return Searched(name, title, tpe(trials).how, axes)


def by_labels(data: PreparedData) -> list[int]:
    """The group of every task `[T]`: its third in the order of train labels, 0 for the fewest."""
    counts = np.isfinite(data.labels[data.split.train]).sum(0)
    order = np.argsort(counts, kind="stable")
    groups = np.empty(len(counts), dtype=int)
    groups[order] = np.arange(len(counts)) * len(GROUPS) // len(counts)
    found: list[int] = groups.tolist()
    return found
