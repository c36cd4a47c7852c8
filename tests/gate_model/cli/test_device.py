"""`--device`."""

import pytest
import torch

from gate_model.cli._device import resolve_device


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_unknown_device_is_named() -> None:
    assert resolve_device("auto").type in ("cpu", "cuda")
    with pytest.raises(ValueError, match="--device warp"):
        resolve_device("warp")
