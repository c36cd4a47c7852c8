"""RMSE."""

import numpy as np
import pytest
import torch

from gate_model.model.evaluation import rmse


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_rmse_counts_labels_only_and_hides_no_nan_prediction() -> None:
    nan = np.nan
    labels = np.array([[1.0, nan, 3.0, nan], [2.0, 5.0, nan, nan]])
    predicted = np.array([[0.0, nan, 3.5, 1.0], [4.0, nan, nan, 1.0]])
    with np.errstate(all="raise"):
        np.testing.assert_allclose(rmse(predicted, labels), [np.sqrt((1 + 4) / 2), nan, 0.5, nan])
