import io

import numpy as np
import pytest
import torch
from torch import Tensor

from gate_model.data.batches import Batch, ExchangingBatches, LabelledMolecules

N, T = 60, 3
TRAIN, VALIDATION = np.arange(40), np.arange(40, 55)  # 55..59: a test set


def molecules(n: int = N) -> LabelledMolecules:
    labels = torch.where(torch.rand(n, T, generator=torch.Generator().manual_seed(0)) < 0.5, 1.0, torch.nan)
    return LabelledMolecules.from_labels(torch.arange(n)[:, None].float(), labels)


def data(batch_size: int = 8, seed: int = 0, exchange: float = 0.2) -> ExchangingBatches:
    return ExchangingBatches(molecules(), TRAIN, VALIDATION, batch_size=batch_size, exchange=exchange, seed=seed)


def ids(batches) -> list[list[int]]:
    return [batch.x[:, 0].int().tolist() for batch in batches]


def flat(batches) -> list[int]:
    return [i for batch in ids(batches) for i in batch]


def test_missing_labels_are_zero_and_masked():
    labels = np.array([[1.0, np.nan], [np.nan, 2.0]])
    held = LabelledMolecules.from_labels(torch.randn(2, 4), labels)
    batch = held.batch(torch.tensor([1, 0]))
    assert batch.y.tolist() == [[0.0, 2.0], [1.0, 0.0]]
    assert batch.mask.tolist() == [[False, True], [True, False]]
    assert batch.y.dtype == torch.float32
    assert isinstance(batch.to("cpu"), Batch)
    assert len(held.to("cpu")) == 2


def test_every_epoch_visits_every_train_molecule_once_in_a_new_order():
    d = data()
    first, second = flat(d.train), flat(d.train)
    assert sorted(first) == sorted(second) == TRAIN.tolist()
    assert first != second
    assert sorted(flat(d.validation)) == VALIDATION.tolist()
    assert flat(d.validation) == flat(d.validation)


@pytest.mark.parametrize(("size", "wanted"), [(8, [8] * 5), (9, [9] * 4 + [4]), (13, [13, 13, 14]), (50, [40])])
def test_batch_sizes_leave_no_molecule_alone(size, wanted):
    d = data(batch_size=size)
    assert [len(b) for b in ids(d.train)] == wanted
    assert len(d.train) == len(wanted)


def test_a_single_validation_molecule_is_a_batch():
    d = ExchangingBatches(molecules(), TRAIN, VALIDATION[:1], batch_size=8)
    assert ids(d.validation) == [[40]]
    assert len(d.validation) == 1


@pytest.mark.parametrize(("exchange", "moved"), [(0.0, 0), (0.2, 3), (1.0, 15)])
def test_the_exchange_moves_the_share_and_keeps_a_partition(exchange, moved):
    d = data(exchange=exchange)
    for _ in range(20):
        before = set(flat(d.validation))
        d.next_epoch()
        train, validation = flat(d.train), flat(d.validation)
        assert (len(train), len(validation)) == (40, 15)
        assert sorted(train + validation) == list(range(55))
        assert len(before - set(validation)) == moved
    assert d.epoch == 20


def test_more_validation_than_train_molecules():
    d = ExchangingBatches(molecules(), TRAIN[:3], VALIDATION, batch_size=2, exchange=1.0)
    d.next_epoch()
    assert set(flat(d.train)).isdisjoint(TRAIN[:3].tolist())
    assert sorted(flat(d.train) + flat(d.validation)) == [0, 1, 2, *VALIDATION]


def test_the_seed_determines_everything_and_nothing_else_does():
    a, b, other = data(seed=1), data(seed=1), data(seed=2)
    torch.manual_seed(5)
    runs = []
    for d in (a, b, other):
        seen = []
        for _ in range(3):
            seen += [ids(d.train), ids(d.validation)]
            torch.rand(3)
            d.next_epoch()
        runs.append(seen)
    assert runs[0] == runs[1] != runs[2]


def test_train_batches_do_not_depend_on_whether_validation_is_read():
    a, b = data(), data()
    for _ in range(3):
        flat(a.validation)
        assert ids(a.train) == ids(b.train)
        a.next_epoch()
        b.next_epoch()


def test_the_users_arrays_stay_as_they_are():
    train, validation = torch.from_numpy(TRAIN.copy()), VALIDATION.copy()
    d = ExchangingBatches(molecules(), train, validation, batch_size=8, exchange=1.0)
    d.next_epoch()
    assert train.tolist() == TRAIN.tolist()
    assert validation.tolist() == VALIDATION.tolist()


def test_a_resumed_run_equals_an_uninterrupted_one():
    whole, first = data(seed=3), data(seed=3)
    for d in (whole, first):
        for _ in range(2):
            flat(d.train)
            d.next_epoch()
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    assert all(isinstance(value, Tensor | int) for value in state.values())
    resumed = data(seed=99)
    resumed.load_state_dict(state)
    assert resumed.epoch == 2
    for _ in range(3):
        assert ids(resumed.train) == ids(whole.train)
        assert ids(resumed.validation) == ids(whole.validation)
        resumed.next_epoch()
        whole.next_epoch()


def test_a_state_is_a_snapshot():
    d = data()
    state = d.state_dict()
    wanted = [ids(d.train), ids(d.validation)]
    d.next_epoch()
    d.load_state_dict(state)
    assert [ids(d.train), ids(d.validation)] == wanted


def test_a_state_of_other_data_is_refused():
    d = data()
    smaller = ExchangingBatches(molecules(), TRAIN[:39], VALIDATION, batch_size=8)
    with pytest.raises(ValueError, match="the state has 39 train molecules, these data have 40"):
        d.load_state_dict(smaller.state_dict())
    shifted = ExchangingBatches(molecules(), TRAIN + 1, VALIDATION + 1, batch_size=8)
    with pytest.raises(ValueError, match="not those of these data"):
        d.load_state_dict(shifted.state_dict())


@pytest.mark.parametrize(("change", "message"), [
    ({"batch_size": 1}, "batch_size must be at least 2; got 1"),
    ({"exchange": 1.5}, "exchange must be between 0 and 1; got 1.5"),
    ({"train": np.array([0])}, "train needs at least 2 molecules; got 1"),
    ({"validation": np.array([], dtype=np.int64)}, "validation needs at least 1 molecules; got 0"),
    ({"validation": np.array([3, 50])}, "molecule 3 appears twice"),
    ({"validation": np.array([60])}, "validation has rows 60 to 60; there are 60 molecules"),
    ({"train": np.ones(60, dtype=bool)}, "train must be a vector of row numbers"),
])  # fmt: skip
def test_arguments_are_checked(change, message):
    arguments = {"train": TRAIN, "validation": VALIDATION, "batch_size": 8, **change}
    with pytest.raises(ValueError, match=message):
        ExchangingBatches(molecules(), **arguments)


def test_labels_are_checked():
    x, y, mask = torch.zeros(2, 1), torch.zeros(2, T), torch.ones(2, T, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"y\[1, 2\] = inf"):
        LabelledMolecules(x, torch.tensor([[0, 0, 0], [0, 0, float("inf")]]), mask)
    with pytest.raises(ValueError, match="mask must be boolean"):
        LabelledMolecules(x, y, mask.float())
    with pytest.raises(ValueError, match="x has 3 molecules, y has 2"):
        LabelledMolecules(torch.zeros(3, 1), y, mask)
    with pytest.raises(ValueError, match=r"both be \[N, T\]"):
        LabelledMolecules(x, y[:, :2], mask)
