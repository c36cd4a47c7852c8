"""What the public table bought: errors in own units, the choice on selection molecules, an interval, a sentence."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from gate_model.data.prepared import PreparedData, prepare
from gate_model.data.splits import Split
from gate_model.data.table import SET_ASIDE_COLUMNS, PropertyTable
from gate_model.data.tasks import Task
from gate_model.model.network import build_gate
from gate_model.model.settings import NetworkSettings
from gate_model.predictor.saved_model import model_of
from gate_model.predictor.with_public import Bought, bootstrap, bought, bought_frame, errors
from gate_model.training.settings import Settings

K = Task("BP", "boiling point", "K")
NAN = float("nan")


def table(*tasks: Task) -> PropertyTable:
    aside = pd.DataFrame(columns=list(SET_ASIDE_COLUMNS))
    smiles = tuple("C" * n + "O" for n in range(1, 41))
    labels = np.random.default_rng(0).normal(300, 50, (40, len(tasks)))
    return PropertyTable(tasks, smiles, labels, aside, "my.csv")


def column(selection: tuple[float, float], test: tuple[float, float], interval: tuple[float, float]) -> Bought:
    return Bought(K, (80, 10, 10), *selection, *test, *interval)


def test_the_interval_is_that_of_resampled_molecules() -> None:
    """Checked against the spread of the difference over fresh samples of the same two kinds of errors."""
    rng = np.random.default_rng(1)

    def sample(n: int) -> tuple[np.ndarray, np.ndarray]:
        shared = rng.normal(size=n)
        return 2 * (shared + 0.3 * rng.normal(size=n)), shared + 0.3 * rng.normal(size=n)

    def difference(alone: np.ndarray, joined: np.ndarray) -> float:
        return float(np.sqrt((alone**2).mean()) - np.sqrt((joined**2).mean()))

    alone, joined = sample(400)
    low, high = bootstrap(alone, joined, seed=0)
    fresh = [difference(*sample(400)) for _ in range(2000)]
    width = np.quantile(fresh, 0.975) - np.quantile(fresh, 0.025)
    assert high - low == pytest.approx(width, rel=0.2)
    assert low < difference(alone, joined) < high
    # Paired: it is narrower than that of two samples drawn apart.
    apart = np.quantile([difference(sample(400)[0], sample(400)[1]) for _ in range(2000)], [0.025, 0.975])
    assert high - low < 0.8 * (apart[1] - apart[0])


def test_the_interval_depends_on_the_seed_alone() -> None:
    alone, joined = np.random.default_rng(0).normal(size=(2, 30))
    assert bootstrap(alone, joined, seed=1) == bootstrap(alone, joined, seed=1) != bootstrap(alone, joined, seed=2)
    low, high = bootstrap(alone, joined, seed=1)
    assert bootstrap(joined, alone, seed=1) == pytest.approx((-high, -low), abs=1e-12)
    assert np.isnan(bootstrap(alone[:1], joined[:1], seed=0)).all()


def test_each_column_is_judged_by_its_own_labels_and_chosen_on_selection_molecules() -> None:
    mine = table(K, Task("own", "own", ""))
    selection = (np.array([[3.0, 1.0], [-4.0, NAN]]), np.array([[1.0, 2.0], [1.0, NAN]]))
    test = (np.array([[1.0, 6.0], [NAN, -8.0]]), np.array([[5.0, 0.0], [NAN, 1.0]]))
    first, second = bought(mine, [(8, 2, 1), (9, 1, 2)], selection, test, seed=0)
    assert first.selection_alone == pytest.approx(np.sqrt(12.5))
    assert (first.selection_joined, first.test_alone, first.test_joined) == (1, 1, 5)
    assert (second.selection_alone, second.selection_joined) == (1, 2)
    assert second.difference == pytest.approx(np.sqrt(50) - np.sqrt(0.5))
    # The test molecules say the opposite in both columns, and do not matter.
    assert (first.joined, second.joined) == (True, False)
    frame = bought_frame((first, second))
    assert list(frame["chosen"]) == ["joined", "alone"]
    assert list(frame["bought"]) == [first.difference, second.difference]


def test_equal_errors_keep_the_users_own_model() -> None:
    assert not column((2, 2), (2, 1), (0, 2)).joined


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            column((3, 2), (3, 2), (0.5, 1.5)),
            "BP: the public table bought you 1 K (0.5 to 1.5). Test RMSE 3 alone, 2 joined, 10 molecules.",
        ),
        (column((3, 2), (3, 2), (-0.5, 2.5)), "bought you 1 K (-0.5 to 2.5). Test RMSE 3 alone, 2 joined, 10 mole"),
        (column((3, 2), (3, 2), (-0.5, 2.5)), "The interval holds 0: this may be chance."),
        (column((3, 2), (2, 2.5), (-2, 0.75)), "on the test molecules the public table cost you 0.5 K (-0.75 to 2)"),
        (
            column((2, 3), (2, 2.5), (-2, 0.75)),
            "BP: the public table did not help: keep your own. Test RMSE 2 alone, 2.5 joined, 10 molecules.",
        ),
        (
            column((2, 3), (3, 2), (0.5, 1.5)),
            "keep your own, although on the test molecules it would have bought you 1",
        ),
        (column((3, 2), (3, 2), (NAN, NAN)), "One test molecule says nothing about others."),
    ],
)
def test_the_sentence_says_what_was_chosen_and_how_sure_it_is(found: Bought, said: str) -> None:
    assert said in found.sentence


@pytest.fixture
def data() -> PreparedData:
    split = Split(np.arange(20), np.arange(20, 26), np.arange(26, 33), np.arange(33, 40))
    return prepare(table(Task("VS", "viscosity", ""), K), seed=0, split=split)


def test_errors_are_in_own_units_and_only_where_the_file_has_a_label(data: PreparedData) -> None:
    settings = Settings(network=NetworkSettings())
    model = model_of(data, settings, {0: build_gate(data.featurizer.width, 2, settings.network).eval()})
    smiles = [data.table.smiles[row] for row in (39, 2, 35)]
    labels = np.array([[300.0], [NAN], [310.0]])
    found = errors(model, data, smiles, labels, ["BP"])
    values = model.standardizer.inverse(model.spread.predict(model.members, data.some(np.array([39, 2, 35]))[0])[0])
    assert found[[0, 2], 0] == pytest.approx(values[[0, 2], 1] - [300, 310])
    assert np.isnan(found[1, 0])
    assert errors(model, replace(data), smiles[:1], labels[:1] + 5, ["BP"]) == pytest.approx(found[:1] - 5)
