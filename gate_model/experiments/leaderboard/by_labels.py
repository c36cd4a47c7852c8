"""The λ that TPE searches for the leaderboard: three values, chosen by a target's number of labels."""

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
    """The space of three λ in [0, 1]: one each for targets with few, some and many train labels.

    20 trials are too few to search a λ for each pair, or for each target. The number of labels of a target should
    decide how much it needs other tasks.

    Args:
        groups: the group of every task, by seed: a place in `GROUPS`.
    """

    groups: Mapping[int, tuple[int, ...]]

    def space(self, weights: nn.Module, seed: int = 0) -> Space:
        """Return the space of a search; each target's row of λ has the value of its group."""
        ratios = cast(TransferRatios, weights)
        rows = torch.tensor(self.groups[seed])[:, None].expand(-1, len(ratios.sources))
        return Space(dict.fromkeys(GROUPS, Axis(0.0, 1.0)), ratios, torch.where(ratios.direct, -1, rows))


def tpe_by_labels(name: str, title: str, trials: int, datasets: Mapping[int, PreparedData]) -> Searched:
    """Return a TPE search over these three λ, for the data of each seed."""
    axes = ByLabels({seed: tuple(by_labels(data)) for seed, data in datasets.items()})
    return Searched(name, title, tpe(trials).how, axes)


def by_labels(data: PreparedData) -> list[int]:
    """Return the group of every task `[T]`: the third of the tasks with the fewest train labels has group 0."""
    counts = np.isfinite(data.labels[data.split.train]).sum(0)
    order = np.argsort(counts, kind="stable")
    groups = np.empty(len(counts), dtype=int)
    groups[order] = np.arange(len(counts)) * len(GROUPS) // len(counts)
    found: list[int] = groups.tolist()
    return found
