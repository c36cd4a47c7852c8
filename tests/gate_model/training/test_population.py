"""A population against separate trainings: the same random numbers, and the same numbers out of them."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from bilevel_hpo import DivergedError
from gate_model.data.batches import LabelledMolecules
from gate_model.data.prepared import PreparedData, prepare
from gate_model.data.table import PropertyTable
from gate_model.model.evaluation import predict, rmse
from gate_model.model.settings import NetworkSettings
from gate_model.training.methods import constant
from gate_model.training.settings import Settings
from gate_model.training.train import train, train_population
from gate_model.training.trained import Trained

SMALL = NetworkSettings(embedding_hidden=32, d=16, k=8, hidden=16)
METHODS = [
    constant("lambda=0", "", 0.0),
    constant("lambda=3", "", 3.0),
    constant("asymmetric", "", ((1.0, 0.2, 0.0), (0.6, 1.0, 1.5), (0.0, 0.4, 1.0))),
]
SHORT = Settings(epochs=4, network=SMALL)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def doubles(small_data: PreparedData) -> Iterator[PreparedData]:
    """In float64, with a third of the labels missing."""
    torch.set_default_dtype(torch.float64)
    m = small_data.molecules
    gaps = torch.rand(m.mask.shape, generator=torch.Generator().manual_seed(0)) < 1 / 3
    molecules = LabelledMolecules(m.x[torch.arange(len(m))].double(), m.y.double(), m.mask & ~gaps)
    yield replace(small_data, molecules=molecules)
    torch.set_default_dtype(torch.float32)


def largest_difference(a: Trained, b: Trained) -> float:
    pairs = zip(a.model.state_dict().values(), b.model.state_dict().values(), strict=True)
    return max(float((x - y).abs().max()) for x, y in pairs)


@pytest.mark.parametrize(
    "settings",
    [SHORT, replace(SHORT, schedule="one-cycle", geometry_share=0.5), replace(SHORT, lr=0.05, patience=1, epochs=12)],
    ids=["cosine", "one-cycle", "early stopping"],
)
def test_a_population_equals_separate_trainings(doubles: PreparedData, settings: Settings) -> None:
    together = train_population(doubles, METHODS, settings, seed=3)
    lengths = set()
    for method, member in zip(METHODS, together, strict=True):
        alone = train(doubles, method, settings, seed=3)
        assert largest_difference(alone, member) < 1e-10
        assert alone.epoch == member.epoch
        assert torch.equal(alone.ratios, member.ratios)
        assert torch.equal(alone.trajectory, member.trajectory)
        assert alone.val_rmse == pytest.approx(member.val_rmse, abs=1e-10)
        for row, other in zip(alone.history, member.history, strict=True):
            assert row | {"seconds": 0} == pytest.approx(other | {"seconds": 0}, abs=1e-10)
        lengths.add(len(alone.history))
    assert settings.patience is None or len(lengths) > 1, "the members stopped at different epochs"


def test_in_float32_it_agrees_to_rounding(small_data: PreparedData) -> None:
    x, labels = small_data.some(small_data.split.test)
    for method, member in zip(METHODS, train_population(small_data, METHODS, Settings(), seed=0), strict=True):
        alone = train(small_data, method, Settings(), seed=0)
        assert member.val_rmse == pytest.approx(alone.val_rmse, abs=1e-5)
        assert rmse(predict(member.model, x), labels) == pytest.approx(rmse(predict(alone.model, x), labels), abs=1e-5)


def test_networks_on_graphs_make_a_population_too(dsbp_table: PropertyTable) -> None:
    full = dsbp_table.with_at_least(3)
    keep = list(range(0, 1200, 8))
    few = PropertyTable(full.tasks, tuple(full.smiles[i] for i in keep), full.labels[keep], full.set_aside, full.source)
    data = prepare(few, seed=0, reads="graphs")
    settings = replace(SHORT, epochs=2, lr=1e-3, network=replace(SHORT.network, embedding="graph"))
    for method, member in zip(METHODS[:2], train_population(data, METHODS[:2], settings, seed=0), strict=True):
        assert largest_difference(train(data, method, settings, seed=0), member) < 1e-5


def test_what_a_population_cannot_do_is_refused(small_data: PreparedData) -> None:
    with pytest.raises(ValueError, match="methods is empty"):
        train_population(small_data, [], SHORT, seed=0)
    with pytest.raises(ValueError, match="'bfloat16': a population trains in float32"):
        train_population(small_data, METHODS, replace(SHORT, precision="bfloat16"), seed=0)
    with pytest.raises(DivergedError, match=r"lambda=0 diverged in epoch \d+ .*lr=1e\+30"):
        train_population(small_data, METHODS, replace(SHORT, lr=1e30), seed=0)
