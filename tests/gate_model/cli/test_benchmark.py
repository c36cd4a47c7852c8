"""`gate benchmark`: it goes on where it stopped, and its errors come before any work."""

import json
import sys
from dataclasses import replace
from importlib.metadata import distributions
from pathlib import Path

import pandas as pd
import pytest
import torch
from typer.testing import CliRunner
from typer.testing import Result as CliResult

from bilevel_hpo.comparison import Trained, read_trained
from gate_model.cli.app import app
from gate_model.experiments.leaderboard.table import ENTRIES
from tests.gate_model.make_messy import write


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_the_command_goes_on_with_the_jobs_that_are_missing_and_writes_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "my.csv")

    def gate(*options: object) -> CliResult:
        return CliRunner().invoke(app, ["benchmark", "--data", str(tmp_path / "my.csv"), *map(str, options)])

    def numbers() -> Trained:
        found = read_trained(out / "jobs", "uncertainty", 0)
        return replace(found, seconds=0, cpu_seconds=0, curve=[row | {"seconds": 0} for row in found.curve])

    monkeypatch.setitem(sys.modules, "lightgbm", None)
    out = tmp_path / "out"
    common = ("--out", out, "--epochs", 1, "--workers", 1, "--split", "random", "--fraction", 0.5)
    assert gate(*common, "--seeds", 1, "--methods", "lambda=0,uncertainty").exception is None
    kept, lost = (out / "jobs" / f"{name}-seed0-0.json" for name in ("lambda=0", "uncertainty"))
    written, before = kept.stat().st_mtime_ns, numbers()
    lost.unlink()
    assert gate(*common, "--seeds", 2, "--methods", "uncertainty,lambda=0,lambda=1", "--resume").exception is None
    assert kept.stat().st_mtime_ns == written
    assert numbers() == before, "the same training in another process gives the same numbers"
    board = pd.read_csv(out / "leaderboard.csv")
    assert sorted(board["method"]) == ["lambda=0", "lambda=1", "uncertainty"]
    assert board["seeds"].tolist() == [2, 2, 2]
    results = json.loads((out / "results.json").read_text())
    assert (results["kind"], results["fraction"], results["tasks"]) == ("leaderboard", 0.5, ["bp", "ds"])
    assert results["split"]["method"] == "random; one split per seed"
    assert {"scikit-learn", "rdkit", "torch"} <= results["versions"].keys()
    assert ("lightgbm" in results["versions"]) == any(distributions(name="lightgbm"))
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "split by random; one split per seed" in page
    assert "standardised labels" in page
    for options, message in [
        ((*common[:-1], 0.25, "--resume"), "fraction was 0.5, now 0.25"),
        ((*common, "--methods", "best"), "no method is called best"),
        ((*common, "--methods", "chemprop"), "chemprop needs --python"),
        ((*common, "--methods", "lightgbm"), "lightgbm is not installed"),
    ]:
        assert message in str(gate(*options).exception)


def test_the_methods_are_listed_without_a_run() -> None:
    shown = CliRunner().invoke(app, ["benchmark", "--list-methods"])
    assert shown.exit_code == 0
    assert [line.split()[0] for line in shown.stdout.splitlines()] == list(ENTRIES)
