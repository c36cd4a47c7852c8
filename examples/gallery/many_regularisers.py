"""Thousands of regularisation strengths: a weight decay of its own for each of 2144 features of a digit.

The features are the 64 pixels of scikit-learn's handwritten digits and all 2080 products of two of them; a softmax
regression sees 200 images. Which features deserve how much decay nobody could search: the decays are learned in one
training from 200 validation images, and compared with the best single decay of a grid and of TPE.

    pip install bilevel-hpo scikit-learn
    python examples/gallery/many_regularisers.py --out runs/many_regularisers
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bilevel_hpo import LossWeights, Positive
from bilevel_hpo.comparison import (
    Comparison,
    Constant,
    Frozen,
    Learned,
    Method,
    Metric,
    Run,
    Scores,
    best_constant,
    compare,
    random,
    tpe,
)

TRAIN, VALIDATION, SELECTION, TEST = 200, 200, 200, 1197
GROUPS = {
    "pixels": [f"pixel {number}" for number in range(64)],
    "products": [f"product {number}" for number in range(2080)],
}
FEATURES = GROUPS["pixels"] + GROUPS["products"]
VALUES = (1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0)


class Data(NamedTuple):
    """Features and classes, and the rows of each part."""

    x: Tensor
    """`[N, 2144]`, each feature with mean 0 and about unit variance."""
    y: Tensor
    train: Tensor
    validation: Tensor
    selection: Tensor
    test: Tensor


def data(seed: int) -> Data:
    """Pixels and their products, in random order."""
    pixels, y = (torch.as_tensor(values) for values in load_digits(return_X_y=True))
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
    first, second = torch.triu_indices(64, 64)
    x = torch.cat([pixels / 16, pixels[:, first] * pixels[:, second] / 256], dim=1)[order]
    spread = x.std(0)
    x = (x - x.mean(0)) / (spread + 0.1 * spread.mean())
    return Data(x, y[order], *torch.arange(len(y)).split([TRAIN, VALIDATION, SELECTION, TEST]))


def network() -> nn.Linear:
    """Softmax regression, from zero."""
    model = nn.Linear(2144, 10).double()
    nn.init.zeros_(model.weight)
    return model


def training(run: Run, epochs: int = 20) -> Scores:
    """One training with the decays of `run`."""
    d, model = data(run.seed), network()
    rows = torch.cat([d.train, d.validation]) if run.method.endswith("+validation") else d.train

    def val_loss(model: nn.Module, decay: Tensor, rows: Tensor) -> Tensor:
        return cross_entropy(model(d.x[rows]), d.y[rows])

    def train_loss(model: Any, decay: Tensor, rows: Tensor) -> Tensor:
        return val_loss(model, decay, rows) + decay @ model.weight.square().sum(0)

    def loss(rows: Tensor) -> float:
        with torch.no_grad():
            return float(val_loss(model, run.weights(), rows))

    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    learner = run.learner(model, optimizer, train_loss=train_loss, val_loss=val_loss)
    run.fit(learner, [rows] * 10, [d.validation], epochs, score=lambda: loss(d.selection))
    return Scores(selection=loss(d.selection), test=lambda: loss(d.test))


def main(out: Path, seeds: Sequence[int] = range(5), workers: int | None = None, quick: bool = False) -> Comparison:
    """The comparison, its report in `out`."""
    decays = LossWeights(FEATURES, init=0.01, constraint=Positive()).double()
    methods: list[Method] = [Learned(outer_lr=0.1, outer_every=2, warm_up=0.1)]
    methods += [Frozen(), Frozen(name="frozen+validation"), Constant(0.01), Constant(0.01, "start+validation")]
    values, trials = (VALUES[3:5], 1) if quick else (VALUES, 19)
    methods += [best_constant(values), best_constant(values, "uniform+validation")]
    methods += [tpe(trials, 1e-4, 1.0, log=True, shared=True)]
    methods += [tpe(trials, 1e-4, 1.0, "tpe-groups", log=True, groups=GROUPS)]
    methods += [random(1 if quick else 9, 1e-4, 1.0, log=True)]
    metric, share = Metric("log loss"), TEST / (TRAIN + VALIDATION)
    return compare(training, decays, methods, out=out, seeds=seeds, metric=metric, test_share=share, on=workers)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/many_regularisers"), help="a folder")
    parser.add_argument("--seeds", type=int, nargs="+", default=range(5), help="which (default: 0 1 2 3 4)")
    parser.add_argument("--workers", type=int, help="processes (default: all cores)")
    parser.add_argument("--quick", action="store_true", help="few trials, to see it work")
    print(main(**vars(parser.parse_args())))
