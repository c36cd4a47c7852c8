"""Wrong labels: a weight for each of 1197 training examples, of which four in ten carry a wrong label.

The images are scikit-learn's handwritten digits; 100 others are known to be right. The weights are learned in one
training from those 100, start at one half and move between 0 and 1: those of wrong labels fall, though nobody says
which they are. Compared with equal weights, with a training on the 100 alone, with one on all together, and with
TPE at nineteen trainings.

    pip install bilevel-hpo scikit-learn
    python examples/gallery/wrong_labels.py --out runs/wrong_labels
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import BatchSampler, DataLoader, RandomSampler

from bilevel_hpo import Box, LossWeights
from bilevel_hpo.comparison import Comparison, Constant, Frozen, Learned, Method, Metric, Run, Scores, compare, tpe

CLEAN, SELECTION, TEST, WRONG = 100, 100, 400, 0.4
EXAMPLES = 1797 - CLEAN - SELECTION - TEST


class Data(NamedTuple):
    """Images and labels, and the rows of each part."""

    x: Tensor
    """Pixels `[N, 64]`."""
    y: Tensor
    wrong: Tensor
    """Which labels are wrong `[N]`: only some of those trained on."""
    train: Tensor
    clean: Tensor
    selection: Tensor
    test: Tensor


def data(seed: int) -> Data:
    """Digits in random order; another class, drawn at random, for four in ten of those trained on."""
    draw = torch.Generator().manual_seed(seed)
    pixels, y = (torch.as_tensor(values) for values in load_digits(return_X_y=True))
    order = torch.randperm(len(y), generator=draw)
    wrong = (torch.rand(len(y), generator=draw) < WRONG) & (torch.arange(len(y)) < EXAMPLES)
    another = (y[order] + torch.randint(1, 10, (len(y),), generator=draw)) % 10
    parts = torch.arange(len(y)).split([EXAMPLES, CLEAN, SELECTION, TEST])
    return Data(pixels[order] / 16, torch.where(wrong, another, y[order]), wrong, *parts)


def network() -> nn.Module:
    """One hidden layer."""
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)).double()


def batches(rows: Any, size: int) -> DataLoader[Tensor]:
    """`rows` in random order, `size` at a time."""
    return DataLoader(rows, batch_size=None, sampler=BatchSampler(RandomSampler(rows), size, drop_last=False))


def training(run: Run, epochs: int = 40) -> Scores:
    """One training with the λ of `run`."""
    d, model = data(run.seed), network()
    rows = {"clean": d.clean, "both": torch.cat([d.train, d.clean])}.get(run.method.split("+")[-1], d.train)

    def val_loss(model: nn.Module, lambda_: Tensor, rows: Tensor) -> Tensor:
        return cross_entropy(model(d.x[rows]), d.y[rows])

    def train_loss(model: nn.Module, lambda_: Tensor, rows: Tensor) -> Tensor:
        weight = torch.cat([lambda_, torch.ones(CLEAN)])[rows]
        return weight @ cross_entropy(model(d.x[rows]), d.y[rows], reduction="none") / len(rows)

    def accuracy(rows: Tensor) -> float:
        return float((model(d.x[rows]).argmax(1) == d.y[rows]).double().mean())

    optimizer = torch.optim.AdamW(model.parameters(), lr=0.005, weight_decay=0.01)
    learner = run.learner(model, optimizer, train_loss=train_loss, val_loss=val_loss)
    epochs = epochs * EXAMPLES // len(rows)  # as many steps for all
    run.fit(learner, batches(rows, 100), [d.clean], epochs, score=lambda: accuracy(d.selection))
    return Scores(selection=accuracy(d.selection), test=lambda: accuracy(d.test))


def main(out: Path, seeds: Sequence[int] = range(5), workers: int | None = None, quick: bool = False) -> Comparison:
    """The comparison, its report in `out`."""
    weights = LossWeights([str(example) for example in range(EXAMPLES)], init=0.5, constraint=Box(0, 1)).double()
    methods: list[Method] = [Learned(outer_lr=0.1, outer_every=2, warm_up=0.1), Frozen(), Frozen(name="frozen+both")]
    methods += [Constant(1.0, "equal"), Constant(1.0, "clean"), Constant(1.0, "both")]
    methods += [tpe(1 if quick else 19)]
    metric, share = Metric("accuracy", higher_is_better=True), TEST / (EXAMPLES + CLEAN)
    return compare(training, weights, methods, out=out, seeds=seeds, metric=metric, test_share=share, on=workers)


def auc(weights: Sequence[float], seed: int) -> float:
    """How often a right label weighs more than a wrong one; a tie counts half."""
    wrong = data(seed).wrong[:EXAMPLES]
    return float(roc_auc_score(~wrong, weights))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/wrong_labels"), help="a folder")
    parser.add_argument("--seeds", type=int, nargs="+", default=range(5), help="which (default: 0 1 2 3 4)")
    parser.add_argument("--workers", type=int, help="processes (default: all cores)")
    parser.add_argument("--quick", action="store_true", help="few trials, to see it work")
    found = main(**vars(parser.parse_args()))
    of_seeds = [auc(one.trained.lambda_, seed) for (name, seed), one in found.answers.items() if name == "learned"]
    print(found, f"AUC of the weights, right against wrong labels: {sum(of_seeds) / len(of_seeds):.3f}", sep="\n")
