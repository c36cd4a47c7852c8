"""Auxiliary tasks: which of ten others help a network to read a digit that few images have a label for?

Two of scikit-learn's handwritten digits stand side by side. The target is the class of the left one, which 60 of 700
images name. Four coarse properties of the left digit, which all images have, are related to it. Six tasks are not:
what the right digit is, and a class drawn at random. All share a trunk that ends in sixteen units.

The target has weight 1. Ten weights of the others, on a budget, are learned in one training, and compared with equal
ones, with none, and with searches: a grid over three groups of weights, TPE and random draws over all ten.

    pip install bilevel-hpo scikit-learn
    python examples/gallery/auxiliary_tasks.py --out runs/auxiliary_tasks
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torch.nn.functional import cross_entropy
from torch.utils.data import BatchSampler, DataLoader, RandomSampler

from bilevel_hpo import Budget, LossWeights
from bilevel_hpo.comparison import (
    Comparison,
    Constant,
    Frozen,
    Learned,
    Method,
    Metric,
    Run,
    Scores,
    compare,
    grid,
    random,
    tpe,
)

HELPERS = ["parity", "at least 5", "hole", "straight"]
JUNK = ["right digit", *(f"right {name}" for name in HELPERS), "random class"]
AUXILIARY = [*HELPERS, *JUNK]
GROUPS = {"helpers": HELPERS, "right": JUNK[:-1], "random": JUNK[-1:]}
BY_HAND = {"equal": [1.0] * 10, "alone": [0.0] * 10, "helpers": [2.5] * 4 + [0.0] * 6}
LABELLED, TRAIN, VALIDATION, SELECTION, TEST = 60, 700, 100, 100, 897


class Data(NamedTuple):
    """Pairs of digits, and the rows of each part."""

    x: Tensor
    """Pixels `[N, 128]`."""
    classes: Tensor
    """Of the left digit, of the right one, and of nothing `[3, N]`."""
    coarse: Tensor
    """`HELPERS` as 0 or 1, of the left digit and of the right one `[2, N, 4]`."""
    train: Tensor
    """The first `LABELLED` of them have a class that may be learned."""
    validation: Tensor
    selection: Tensor
    test: Tensor


def data(seed: int) -> Data:
    """Pairs are made within each part: no image of one is in another."""
    draw = torch.Generator().manual_seed(seed)
    images, classes = (torch.as_tensor(values) for values in load_digits(return_X_y=True))
    order = torch.randperm(len(images), generator=draw)
    sizes = [TRAIN, VALIDATION, SELECTION, TEST]
    right = torch.cat([part[torch.randperm(len(part), generator=draw)] for part in order.split(sizes)])
    x = torch.cat([images[order], images[right]], dim=1) / 16
    both = torch.stack([classes[order], classes[right]])
    hole, straight = (torch.isin(both, torch.tensor(which)) for which in ([0, 6, 8, 9], [1, 4, 7]))
    coarse = torch.stack([both % 2 == 1, both >= 5, hole, straight], dim=2)
    nothing = torch.randint(10, (1, len(x)), generator=draw)
    return Data(x, torch.cat([both, nothing]), coarse.double(), *torch.arange(len(x)).split(sizes))


def network() -> nn.Module:
    """A trunk that ends in 16 units, and all heads in one layer."""
    return nn.Sequential(nn.Linear(128, 32), nn.Tanh(), nn.Linear(32, 16), nn.Tanh(), nn.Linear(16, 38)).double()


def heads(model: nn.Module, x: Tensor) -> Sequence[Tensor]:
    """Logits of the left digit `[B, 10]` and its properties `[B, 4]`, of the right one, and of nothing `[B, 10]`."""
    return model(x).split([10, 4, 10, 4, 10], dim=1)


def batches(rows: Any, size: int) -> DataLoader[Tensor]:
    """`rows` in random order, `size` at a time."""
    return DataLoader(rows, batch_size=None, sampler=BatchSampler(RandomSampler(rows), size, drop_last=False))


def training(run: Run, epochs: int = 100) -> Scores:
    """One training with the λ of `run`."""
    d, model = data(run.seed), network()
    few = torch.cat([d.train[:LABELLED], d.validation]) if "+validation" in run.method else d.train[:LABELLED]

    def val_loss(model: nn.Module, lambda_: Tensor, rows: Tensor) -> Tensor:
        return cross_entropy(heads(model, d.x[rows])[0], d.classes[0, rows], label_smoothing=0.2)

    def train_loss(model: nn.Module, lambda_: Tensor, rows: Tensor) -> Tensor:
        _, left, right, other, nothing = heads(model, d.x[rows])
        digits = [val_loss(model, lambda_, few), *map(cross_entropy, (right, nothing), d.classes[1:, rows])]
        coarse = bce(torch.stack([left, other]), d.coarse[:, rows], reduction="none").mean(1)
        return digits[0] + lambda_ @ torch.stack([*coarse[0], digits[1], *coarse[1], digits[2]])

    def accuracy(rows: Tensor) -> float:
        return float((heads(model, d.x[rows])[0].argmax(1) == d.classes[0, rows]).double().mean())

    adamw = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)
    learner = run.learner(model, adamw, train_loss=train_loss, val_loss=val_loss)
    run.fit(learner, batches(d.train, 200), [d.validation], epochs, score=lambda: accuracy(d.selection))
    return Scores(selection=accuracy(d.selection), test=lambda: accuracy(d.test))


def main(out: Path, seeds: Sequence[int] = range(5), workers: int | None = None, quick: bool = False) -> Comparison:
    """The comparison, its report in `out`."""
    weights = LossWeights(AUXILIARY, constraint=Budget(10.0)).double()
    methods: list[Method] = [Learned(outer_lr=0.05, outer_every=2, warm_up=0.05)]
    methods += [Frozen(), Frozen(name="frozen+validation")]
    methods += [Constant(lambda_, name + more) for name, lambda_ in BY_HAND.items() for more in ("", "+validation")]
    values, trials = ((1.0,), 1) if quick else ((0.0, 0.5, 1.0), 19)
    methods += [grid(values, groups=GROUPS), tpe(trials), random(trials), tpe(3, name="tpe-3")]
    metric, share = Metric("accuracy", higher_is_better=True), TEST / (TRAIN + VALIDATION)
    return compare(training, weights, methods, out=out, seeds=seeds, metric=metric, test_share=share, on=workers)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/auxiliary_tasks"), help="a folder")
    parser.add_argument("--seeds", type=int, nargs="+", default=range(5), help="which (default: 0 1 2 3 4)")
    parser.add_argument("--workers", type=int, help="processes (default: all cores)")
    parser.add_argument("--quick", action="store_true", help="few trials, to see it work")
    print(main(**vars(parser.parse_args())))
