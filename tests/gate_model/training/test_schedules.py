"""Schedules of the learning rate."""

import math

import numpy as np
import pytest
import torch

from gate_model.training.schedules import scheduler


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_schedules_reach_their_marks() -> None:
    """Cosine: lr·(1 + cos πn/N)/2. One cycle: from lr/25, up over 30 % of the steps, down to lr/250,000."""
    rates: dict[str, list[float]] = {}
    for name in ("cosine", "one-cycle"):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
        schedule = scheduler(name, optimizer, 100)
        rates[name] = []
        for _ in range(100):
            rates[name].append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
        rates[name].append(optimizer.param_groups[0]["lr"])
    assert rates["cosine"] == pytest.approx([0.25 * (1 + math.cos(math.pi * n / 100)) for n in range(101)], abs=1e-9)
    assert rates["one-cycle"][0] == pytest.approx(0.02)
    assert max(rates["one-cycle"]) == pytest.approx(0.5, rel=1e-3)
    assert int(np.argmax(rates["one-cycle"])) == pytest.approx(30, abs=1)
    assert rates["one-cycle"][-1] == pytest.approx(2e-6, rel=1e-6)
    with pytest.raises(ValueError, match="schedule='step'"):
        scheduler("step", optimizer, 100)
