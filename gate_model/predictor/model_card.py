"""What a user of a trained model should know, on one page beside the model."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray

from bilevel_hpo.run_folder import replacing
from gate_model.data.molecules.similarity import nearest, packed_fingerprints
from gate_model.data.prepared import PreparedData
from gate_model.data.splits import SPLIT_METHOD
from gate_model.model.evaluation import rmse, root_mean_square
from gate_model.predictor.headers import headers
from gate_model.predictor.intervals import COVERAGE, fewest
from gate_model.predictor.saved_model import SavedModel
from gate_model.run_folder import versions
from gate_model.training.methods import Method
from gate_model.training.settings import Settings

__all__ = ["write_model_card"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class _TaskLine:
    """A task's line in the tables."""

    title: str
    name: str
    kind: str
    labels: int
    test_labels: int
    rmse: float
    rmse_units: float
    within_one: float
    """Share of the test molecules within ±σ of their label."""
    within_two: float
    within_interval: float
    """Share of the test molecules whose label is inside the interval of `COVERAGE`."""
    factor: float
    """Half the width of that interval, in σ."""
    selection_labels: int

    @property
    def unbounded(self) -> bool:
        """Whether there are too few selection labels for an interval."""
        return not np.isfinite(self.factor)


def write_model_card(folder: Path, model: SavedModel, data: PreparedData, method: Method, command: str) -> None:
    """`model_card.md`: data, split, hyperparameters, versions, error on the test molecules, use and limits.

    Args:
        folder: the run folder.
        model: as it is saved; the numbers are those of its predictions.
        data: what it was trained on.
        method: how λ was learned.
        command: that made it.
    """
    x, labels = data.some(data.split.test)
    mean, sigma = model.spread.predict(model.members, x)
    lines = list(_lines(model, data, mean, sigma, labels))
    similarity, _ = nearest(
        packed_fingerprints([data.table.smiles[row] for row in data.split.test]), model.fingerprints
    )
    errors = rmse(mean.T, labels.T)
    unlike = similarity < model.unlike
    environment = Environment(
        loader=PackageLoader("gate_model.predictor", "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = environment.get_template("model_card.md.j2").render(
        model=model,
        data=data,
        split=data.split.sizes(),
        split_method=SPLIT_METHOD,
        method=method,
        lines=lines,
        coverage=COVERAGE,
        fewest=fewest(COVERAGE),
        mean_coverage=float(np.mean([line.within_interval for line in lines])),
        mean_rmse=float(rmse(mean, labels).mean()),
        unlike=int(unlike.sum()),
        unlike_rmse=root_mean_square(errors[unlike]),
        like_rmse=root_mean_square(errors[~unlike]),
        settings=_hyperparameters(model.settings, method),
        versions=versions(),
        command=command,
    )
    with replacing(folder / "model_card.md") as file:
        file.write(text.encode())


def _hyperparameters(settings: Settings, method: Method) -> dict[str, object]:
    """By name, those of the network and of the learning of λ among them."""
    found = asdict(settings)
    found |= found.pop("network")
    if method.learning is not None:
        found |= {name: getattr(method.learning, name) for name in ("outer_lr", "outer_every", "warm_up")}
        found["outer_every"] = found["outer_every"] or "epoch"
    return found


def _lines(model: SavedModel, data: PreparedData, mean: Array, sigma: Array, labels: Array) -> Iterator[_TaskLine]:
    factors = np.full(len(model.tasks), np.inf) if model.intervals is None else model.intervals.factors()
    selection = np.isfinite(data.labels[data.split.selection]).sum(0)
    columns = headers(model.tasks)
    present = np.isfinite(data.table.labels).sum(0)
    for column, task in enumerate(model.tasks):
        known = np.isfinite(labels[:, column])
        errors = np.abs(mean[known, column] - labels[known, column])
        rmse = root_mean_square(errors)
        yield _TaskLine(
            title=columns[column].value,
            name=task.name,
            kind=task.kind,
            labels=int(present[column]),
            test_labels=int(known.sum()),
            rmse=rmse,
            rmse_units=rmse * float(model.standardizer.std[column]),
            within_one=float((errors <= sigma[known, column]).mean()),
            within_two=float((errors <= 2 * sigma[known, column]).mean()),
            within_interval=float((errors <= factors[column] * sigma[known, column]).mean()),
            factor=float(factors[column]),
            selection_labels=int(selection[column]),
        )
