"""GATE's report: the engine's page with predictions, units and data, which nothing in the data can break."""

import html
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gate_model.report import ReportError, report_facts, write_report
from tests.gate_model.run_folder import write_run
from tests.report_page import Page

HOSTILE = ("<script>alert(1)</script>", '"><img src=x onerror=alert(2)>', "a<b>&lt;{{ 7*7 }}")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], Page]:
    folder = tmp_path_factory.mktemp("demo")
    results = write_run(folder)
    return folder, results, Page(write_report(folder))


class TestPage:
    def test_contains_the_numbers_of_results_json(self, demo: tuple[Path, dict[str, Any], Page]) -> None:
        _, results, page = demo
        for method in results["methods"]:
            assert method["title"] in page.text
            for values in method["test"].values():
                assert f"{np.mean(values):.4f} ± {np.std(values, ddof=1):.4f}" in page.text
            for values in method["test_units"].values():
                assert f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}" in page.text
        for text in ("1507", "1055", "23 × row left out", "5 min 24 s", "torch 2.13.0", results["command"]):
            assert text in page.text

    def test_says_what_it_is_about(self, demo: tuple[Path, dict[str, Any], Page]) -> None:
        _, results, page = demo
        assert "Comparison: 3 tasks, 6 methods, 3 seeds, 1507 molecules from chemicals 1.5.2" in page.text
        assert results["control_note"] in page.text
        assert "λ (source → target, in units of the direct path, mean over 3 seeds): " in page.text
        assert "drawn is the mean of λ from A to B and λ from B to A, in units of the direct path." in page.text

    def test_sections_stand_in_their_order(self, demo: tuple[Path, dict[str, Any], Page]) -> None:
        _, _, page = demo
        order = [a["id"] for tag, a in page.elements if tag == "h2"]
        assert order == ["methods", "lambda", "search", "training", "tasks", "predictions", "data", "repeat-it"]
        figures = {"landscape", "heatmap-budget", "heatmap-direct", "trajectory-budget", "validation-epoch"}
        assert figures | {"validation-seconds", "parity-0", "parity-1", "parity-2"} < set(page.figures)

    def test_hostile_names_stay_text(self, tmp_path: Path) -> None:
        smiles, unit = "</script><!--<script>alert(3)//", "<i>u</i>&amp;"
        write_run(tmp_path, HOSTILE, smiles=smiles, unit=unit, epochs=3, molecules=5)
        raw = (page_path := write_report(tmp_path)).read_text(encoding="utf-8")
        page = Page(page_path)
        assert len(page.scripts) == 3
        assert not [tag for tag, _ in page.elements if tag in ("img", "i", "b")]
        assert not [a for _, attributes in page.elements for a in attributes if a.startswith("on")]
        for name in (*HOSTILE, unit, smiles + "("):
            assert name in page.text
        data = raw[raw.index('id="figures">') :].split("</script>")[0]
        assert not set("<>&") & set(data[len('id="figures">') :])
        # In plotly's texts the names are escaped once: what it draws is the name itself.
        hover = page.figures["parity-0"]["data"][0]["customdata"][0]
        assert hover.split("<br>")[0] == html.escape(smiles, quote=False) + ", seed 0"

    def test_a_task_called_na_or_1(self, tmp_path: Path) -> None:
        write_run(tmp_path, ("NA", "1", "nan"), epochs=3, molecules=5)
        page = Page(write_report(tmp_path))
        assert list(page.figures["heatmap-budget"]["layout"]["yaxis"]["ticktext"]) == ["NA", "1", "nan"]
        assert {"landscape", "parity-0", "parity-2"} < set(page.figures)

    def test_forty_tasks(self, tmp_path: Path) -> None:
        tasks = [f"T{i:02d}" for i in range(40)]
        methods = ("budget", "lambda=1", "lambda=0")
        write_run(tmp_path, tasks, (0, 1), methods, epochs=3, molecules=200)
        page = Page(write_report(tmp_path))
        heatmap = page.figures["heatmap-budget"]
        assert "texttemplate" not in heatmap["data"][0]
        assert len(heatmap["layout"]["yaxis"]["ticktext"]) == 40
        assert "all 1560 λ" in [trace["name"] for trace in page.figures["trajectory-budget"]["data"]]
        assert len(page.figures["parity-39"]["data"][0]["customdata"]) == 200
        assert "400 predictions, 200 of them drawn" in page.text
        assert "landscape" not in page.figures
        assert all(task in page.text for task in tasks)

    def test_a_single_training(self, tmp_path: Path) -> None:
        write_run(tmp_path, methods=("budget",), seeds=(4,), epochs=3, molecules=5)
        page = Page(write_report(tmp_path))
        assert "One training" in page.text
        assert "landscape" not in page.figures
        assert "±" not in page.text

    def test_a_search_alone(self, tmp_path: Path) -> None:
        write_run(tmp_path, methods=("grid",), seeds=(0,), molecules=5)
        page = Page(write_report(tmp_path))
        parity = {"parity-0", "parity-1", "parity-2"}
        assert {"landscape", "slices", "heatmap-grid", "transfer-graph"} | parity == set(page.figures)

    def test_one_lambda_for_all_pairs(self, tmp_path: Path) -> None:
        write_run(tmp_path, [f"T{i}" for i in range(6)], epochs=2, molecules=3, shared=True)
        page = Page(write_report(tmp_path))
        assert "landscape" in page.figures
        assert not {"slices", "heatmap-grid", "heatmap-tpe"} & set(page.figures)
        assert "A λ for each pair would have been too many for a search." in page.text
        assert "over one λ (all)" in page.text

    def test_a_folder_without_molecules_gets_the_engines_page(self, tmp_path: Path) -> None:
        results = write_run(tmp_path, epochs=2, molecules=3)
        del results["data"], results["task_info"]
        (tmp_path / "results.json").write_text(json.dumps(results))
        (tmp_path / "predictions.csv").unlink()
        (tmp_path / "set_aside.csv").unlink()
        page = Page(write_report(tmp_path))
        assert "parity-0" not in page.figures
        assert "molecules" not in page.text

    def test_a_leaderboard_has_units_and_no_predictions(self, tmp_path: Path) -> None:
        results = write_run(tmp_path, methods=("budget", "lambda=0"), epochs=2, molecules=3)
        for method in results["methods"]:
            del method["lambda"]
        for path in tmp_path.glob("*.csv"):
            path.unlink()
        (tmp_path / "results.json").write_text(json.dumps(results | {"kind": "leaderboard"}))
        page = Page(write_report(tmp_path))
        assert set(page.figures) == {"differences", "task-differences"}
        assert "Test RMSE in the unit of each task" in page.text


class TestDamage:
    @pytest.mark.parametrize("name", ["ratios_history.csv", "predictions.csv", "set_aside.csv"])
    @pytest.mark.parametrize(
        "damage",
        [
            lambda path: path.unlink(),
            lambda path: path.write_bytes(b""),
            lambda path: path.write_bytes(b"\xff\xfe\x00"),
            lambda path: path.write_bytes(b'"'),
        ],
        ids=["missing", "empty", "not UTF-8", "cut off"],
    )
    def test_names_the_file(self, tmp_path: Path, name: str, damage: Callable[[Path], object]) -> None:
        write_run(tmp_path, epochs=1, molecules=2)
        damage(tmp_path / name)
        with pytest.raises(ReportError, match=re.escape(name)):
            write_report(tmp_path)
        assert not (tmp_path / "report.html").exists()

    def test_names_line_and_column(self, tmp_path: Path) -> None:
        write_run(tmp_path, epochs=2, molecules=2)
        path = tmp_path / "predictions.csv"
        frame = pd.read_csv(path, dtype=str)
        frame.loc[3, "y_pred"] = "abc"
        frame.to_csv(path, index=False)
        with pytest.raises(
            ReportError, match=r"predictions\.csv, line 5, column 'y_pred': must be a number; got 'abc'"
        ):
            write_report(tmp_path)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda r: r["task_info"].pop("HV"), "task_info lacks 'HV'"),
            (lambda r: r["data"].pop("molecules"), "lacks 'molecules'"),
            (lambda r: r["methods"][0].pop("test_units"), "method 'budget' lacks 'test_units'"),
            (lambda r: r["methods"][0]["test_units"].pop("HV"), r"'budget', test_units lacks the tasks \['HV'\]"),
            (
                lambda r: r["methods"][0]["test_units"].update(HV=[1.0]),
                r"test_units\['HV'\] must have shape \(3,\); got \(1,\)",
            ),
            (
                lambda r: r["methods"][0]["lambda"].update(per_seed=[[1.0]]),
                r"per_seed must have shape \(3, 3, 3\); got \(1, 1\)",
            ),
        ],
    )
    def test_results_that_lack_something(
        self, tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
    ) -> None:
        results = write_run(tmp_path, epochs=1, molecules=2)
        change(results)
        (tmp_path / "results.json").write_text(json.dumps(results))
        with pytest.raises(ReportError, match=message):
            write_report(tmp_path)

    def test_facts_are_the_engines(self, tmp_path: Path) -> None:
        write_run(tmp_path, epochs=1, molecules=2)
        facts = report_facts(tmp_path)
        assert facts.test_share == pytest.approx(150 / 1206)
        assert facts.control is facts.method("lambda=0")
