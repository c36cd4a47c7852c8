"""Checkpoints survive a crash and damage."""

from pathlib import Path

import pytest
import torch

from bilevel_hpo.run_folder import RunError
from gate_model.training.checkpoints import Checkpoints


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_checkpoints_survive_a_crash_and_damage(tmp_path: Path) -> None:
    class UnwritableError(Exception):
        def __reduce__(self) -> str:
            raise self

    checkpoints = Checkpoints(tmp_path / "c.pt", minutes=0)
    assert checkpoints.load() is None
    for epoch in (1, 2):
        checkpoints.save({"epoch": epoch, "tensor": torch.full((1000,), float(epoch))})
    with pytest.raises(UnwritableError):  # dies while writing
        checkpoints.save({"tensor": torch.zeros(1000), "bad": UnwritableError()})
    assert {path.name for path in tmp_path.iterdir()} == {"c.pt", "c.previous.pt"}
    (tmp_path / "c.pt.tmp").write_bytes(b"half a check")  # what a kill while writing leaves
    state = checkpoints.load()
    assert state is not None
    assert state["epoch"] == 2
    whole = (tmp_path / "c.pt").read_bytes()
    flipped = bytearray(whole)
    flipped[whole.index(torch.full((8,), 2.0).numpy().tobytes())] ^= 0xFF
    for damaged in (whole[: len(whole) // 2], b"", bytes(flipped)):
        (tmp_path / "c.pt").write_bytes(damaged)
        with pytest.warns(UserWarning, match=r"c\.pt is not a readable checkpoint"):
            state = checkpoints.load()
        assert state is not None
        assert state["epoch"] == 1
        assert state["tensor"].eq(1).all()
    (tmp_path / "c.previous.pt").write_bytes(b"neither")
    with pytest.raises(RunError, match=r"c\.pt.*c\.previous\.pt"):
        checkpoints.load()
    (tmp_path / "c.pt").unlink()
    (tmp_path / "c.previous.pt").unlink()
    assert Checkpoints(tmp_path / "c.pt", minutes=60).due() is False
    assert Checkpoints(tmp_path / "c.pt", minutes=0).due() is True
