"""Trust in sources: how much should each table of melting points say, curated, collected or computed?

The package `chemicals` has melting points from six tables. The CRC handbook is curated, and here only 150 of its
molecules may be trained on; four tables are collections of mixed quality, and one is computed by Joback's group
contributions, wrong by 85 K in the mean. A weight for each source is learned in one training, from 150 other molecules
of the handbook, and compared with equal weights, with the handbook alone, with a grid, TPE and random draws.

    pip install bilevel-hpo chemicals rdkit
    python examples/gallery/trusted_sources.py --out runs/trusted_sources
"""

import argparse
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from chemicals import phase_change
from chemicals.identifiers import pubchem_db
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator, rdMolDescriptors
from torch import Tensor, nn
from torch.nn.functional import mse_loss
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
    equal,
    grid,
    random,
    tpe,
)

TABLES = {
    "CRC handbook": "CRC_ORG",
    "Open Notebook": "OPEN_NTBKM",
    "WebBook": "WEBBOOK",
    "Common Chemistry": "COMMON_CHEMISTRY",
    "Wikidata": "WIKIDATA",
    "Joback (computed)": "JOBACK",
}
CURATED, VALIDATION, SELECTION, TEST, OF_EACH = 150, 150, 150, 1050, 400
GROUPS = {"collected": list(TABLES)[1:5]}
BY_HAND = {"curated": [6.0] + [0.0] * 5, "tabulated": [1.2] * 5 + [0.0]}


class Table(NamedTuple):
    """Melting points of all sources, one after the other."""

    source: np.ndarray
    """Number of the table in `TABLES` `[N]`."""
    molecule: np.ndarray
    """CAS number `[N]`: the same molecule may stand in several tables."""
    x: np.ndarray
    """43 descriptors and 64 counts of a Morgan fingerprint `[N, 107]`."""
    y: np.ndarray
    """K `[N]`."""


@cache
def table() -> Table:
    """Organic molecules of 4 to 30 atoms: 1500 of the handbook and 500 of each other table, drawn at random."""
    draw, rows = np.random.default_rng(0), []
    fingerprint = rdFingerprintGenerator.GetMorganGenerator(radius=1, fpSize=64)
    descriptors = rdMolDescriptors.Properties()
    phase_change.Tm("50-00-0")  # loads the tables
    for number, name in enumerate(TABLES.values()):
        points = phase_change.Tm_sources[name]["Tm"].dropna()
        points.index = [int(str(cas).replace("-", "")) for cas in points.index]
        found: list[tuple[int, int, np.ndarray, float]] = []
        for cas, point in points[~points.index.duplicated()].sample(frac=1, random_state=draw).items():
            known = pubchem_db.search_CAS(cas)
            molecule = Chem.MolFromSmiles(known.smiles) if known and "." not in known.smiles else None
            if molecule and 4 <= molecule.GetNumHeavyAtoms() <= 30 and "C" in known.smiles.upper():
                counts = fingerprint.GetCountFingerprintAsNumPy(molecule)
                x = np.concatenate([list(descriptors.ComputeProperties(molecule)), counts])
                found.append((number, cas, np.nan_to_num(x), point))
            if len(found) == (500 if number else 1500):
                break
        rows += found
    return Table(*map(np.array, zip(*rows, strict=True)))


class Data(NamedTuple):
    """Standardised molecules, and the rows of each part."""

    x: Tensor
    y: Tensor
    """Melting points in standard deviations."""
    kelvin: float
    """One standard deviation."""
    source: Tensor
    train: Tensor
    validation: Tensor
    selection: Tensor
    test: Tensor


def data(seed: int) -> Data:
    """The handbook's molecules are split; no other table says anything about those that are not trained on."""
    t, draw = table(), np.random.default_rng(seed)
    handbook = draw.permutation(np.flatnonzero(t.source == 0))
    curated, *rest = np.split(handbook, np.cumsum([CURATED, VALIDATION, SELECTION]))
    usable = ~np.isin(t.molecule, t.molecule[np.concatenate(rest)])
    others = [np.flatnonzero(usable & (t.source == number))[:OF_EACH] for number in range(1, len(TABLES))]
    train = np.concatenate([curated, *others])
    x = ((t.x - t.x[train].mean(0)) / (t.x[train].std(0) + 1e-9)).clip(-5, 5)
    mean, kelvin = t.y[curated].mean(), float(t.y[curated].std())
    tensors = [torch.as_tensor(values) for values in (t.source, train, *rest)]
    return Data(torch.as_tensor(x), torch.as_tensor((t.y - mean) / kelvin), kelvin, *tensors)


def network() -> nn.Module:
    """One hidden layer."""
    return nn.Sequential(nn.Linear(107, 32), nn.SiLU(), nn.Linear(32, 1), nn.Flatten(0)).double()


def batches(rows: Any, size: int) -> DataLoader[Tensor]:
    """`rows` in random order, `size` at a time."""
    return DataLoader(rows, batch_size=None, sampler=BatchSampler(RandomSampler(rows), size, drop_last=False))


def training(run: Run, epochs: int = 25) -> Scores:
    """One training with the λ of `run`."""
    d, model = data(run.seed), network()
    rows = torch.cat([d.train, d.validation]) if run.method.endswith("+validation") else d.train

    def val_loss(model: nn.Module, lambda_: Tensor, rows: Tensor) -> Tensor:
        return mse_loss(model(d.x[rows]), d.y[rows])

    def train_loss(model: nn.Module, lambda_: Tensor, rows: Tensor) -> Tensor:
        return lambda_[d.source[rows]] @ (model(d.x[rows]) - d.y[rows]).square() / len(rows)

    def rmse(rows: Tensor) -> float:
        with torch.no_grad():
            return d.kelvin * float(val_loss(model, run.weights(), rows)) ** 0.5

    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=1.0)
    learner = run.learner(model, optimizer, train_loss=train_loss, val_loss=val_loss)
    run.fit(learner, batches(rows, 256), [d.validation], epochs, score=lambda: rmse(d.selection))
    return Scores(selection=rmse(d.selection), test=lambda: rmse(d.test))


def main(out: Path, seeds: Sequence[int] = range(5), workers: int | None = None, quick: bool = False) -> Comparison:
    """The comparison, its report in `out`."""
    weights = LossWeights(list(TABLES), constraint=Budget(6.0)).double()
    methods: list[Method] = [Learned(outer_lr=0.1, outer_every=2, warm_up=0.05)]
    methods += [Frozen(), Frozen(name="frozen+validation")]
    methods += [Constant(lambda_, name + more) for name, lambda_ in BY_HAND.items() for more in ("", "+validation")]
    values, trials = ((1.0,), 1) if quick else ((0.0, 0.5, 1.0), 19)
    methods += [grid(values, groups=GROUPS), tpe(trials), random(trials), tpe(3, name="tpe-3"), equal(weights)]
    metric, share = Metric("RMSE"), TEST / (CURATED + VALIDATION + 5 * OF_EACH)
    return compare(training, weights, methods, out=out, seeds=seeds, metric=metric, test_share=share, on=workers)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/trusted_sources"), help="a folder")
    parser.add_argument("--seeds", type=int, nargs="+", default=range(5), help="which (default: 0 1 2 3 4)")
    parser.add_argument("--workers", type=int, help="processes (default: all cores)")
    parser.add_argument("--quick", action="store_true", help="few trials, to see it work")
    print(main(**vars(parser.parse_args())))
