"""What GATE adds to the files of a run."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from bilevel_hpo.comparison import Method, run_methods
from bilevel_hpo.run_folder import read_json
from gate_model.data.prepared import PreparedData
from gate_model.experiments.compare import METHODS, grid_of, single
from gate_model.experiments.record import setting_of, write_run
from gate_model.experiments.trainings import Trainings
from gate_model.report import write_report
from gate_model.training.methods import LEARNED
from gate_model.training.settings import Settings


@pytest.fixture(scope="module")
def run(small_data: PreparedData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Learned λ, and a grid over one λ for all pairs; two epochs, one seed."""
    torch.set_num_threads(1)
    return written(tmp_path_factory.mktemp("record"), small_data, [single(LEARNED["budget"]), SHARED_GRID])


SHARED_GRID = grid_of((0.0, 1.7), shared=True)


def written(folder: Path, data: PreparedData, methods: list[Method]) -> Path:
    known = {method.name: method for method in METHODS}
    setting = setting_of(folder, data.abbreviations, {})
    answers = run_methods(Trainings({0: data}, Settings(epochs=2), known), methods, [0], setting)
    write_run(folder, "comparison", {0: data}, methods, answers, setting, command="gate compare")
    return folder


def test_predictions_are_those_that_the_errors_are_of(run: Path) -> None:
    rows = pd.read_csv(run / "predictions.csv")
    for method in read_json(run / "results.json")["methods"]:
        for task, (rmse,) in method["test_units"].items():
            own = rows[(rows["method"] == method["name"]) & (rows["task"] == task)]
            assert len(own) == 40
            assert np.sqrt(((own["y_true"] - own["y_pred"]) ** 2).mean()) == pytest.approx(rmse)


def test_errors_are_in_the_units_of_the_tasks_too(run: Path, small_data: PreparedData) -> None:
    for method in read_json(run / "results.json")["methods"]:
        for column, task in enumerate(small_data.abbreviations):
            std = small_data.table.labels[small_data.split.train, column].std()
            assert method["test_units"][task][0] == pytest.approx(std * method["test"][task][0])


def test_lambda_is_in_units_of_the_direct_path(run: Path) -> None:
    learned = read_json(run / "results.json")["methods"][0]["lambda"]
    assert np.diag(learned["per_seed"][0]).tolist() == [1, 1, 1]
    path = pd.read_csv(run / "ratios_history.csv")
    start = path[(path["epoch"] == 0) & (path["target"] != path["source"])]
    assert start["lambda"].to_numpy() == pytest.approx(0.25), "a quarter of the direct path's budget"
    assert sorted(path["epoch"].unique()) == [0, 1, 2]
    end = path[path["epoch"] == 2].pivot_table(index="target", columns="source", values="lambda", sort=False)
    np.testing.assert_allclose(end.to_numpy(), learned["per_seed"][0], rtol=1e-12)


def test_the_record_says_what_the_report_cannot_know(run: Path, small_data: PreparedData, tmp_path: Path) -> None:
    results = read_json(run / "results.json")
    assert results["metric"] == {"name": "RMSE", "higher_is_better": False, "note": "standardised labels"}
    assert results["search"]["parameters"] == ["all"]
    assert list(pd.read_csv(run / "trials.csv")["all"]) == [0.0, 1.7]
    assert "control" not in results
    page = write_report(run).read_text(encoding="utf-8")
    for words in (
        "No control was run (λ = 0)",
        "A λ for each pair would have been too many for a search",
        "over one λ (all)",
        "in units of the direct path",
        "scaffold; acyclic molecules one group each; one split per seed",
    ):
        assert words in page, words
    control = written(tmp_path, small_data, [single(METHODS[0]), single(METHODS[3]), grid_of((0.0, 0.5))])
    results = read_json(control / "results.json")
    assert results["control"] == "lambda=0"
    assert results["search"] == {"parameters": ["DS|HV", "DS|BP", "HV|BP"], "symmetric": True}
    page = write_report(control).read_text(encoding="utf-8")
    assert "beating λ = 1 alone does not show that" in page
    assert "over symmetric λ; a learned λ may differ by direction" in page
