"""The report: facts against numbers computed by hand, and a page that nothing in the data can break."""

import html
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from run_folder import write_run

from gate_model.report import ReportError, report_facts, write_report
from gate_model.report._answer import answer
from gate_model.report._certainty import certainty
from gate_model.report._differences import difference_facts
from gate_model.report._lambda_words import agreement
from gate_model.report._landscape import search_landscape
from gate_model.report._search_figures import over_one_lambda
from gate_model.report._words import percent, plus_minus, seconds

HOSTILE = ("<script>alert(1)</script>", '"><img src=x onerror=alert(2)>', "a<b>&lt;{{ 7*7 }}")


class Page(HTMLParser):
    """The text outside scripts and styles, every element, and the data of the figures."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.texts: list[str] = []
        self._in = ""
        self.feed(path.read_text(encoding="utf-8"))

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.texts))

    @property
    def figures(self) -> dict[str, Any]:
        return json.loads(self.scripts[0])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._in = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == self._in:
            self._in = ""

    def handle_data(self, data: str) -> None:
        if self._in == "script":
            self.scripts[-1] += data
        elif not self._in:
            self.texts.append(data)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], Page]:
    folder = tmp_path_factory.mktemp("demo")
    results = write_run(folder)
    return folder, results, Page(write_report(folder))


def set_rmse(folder: Path, **rmse: list[list[float]]) -> None:
    """Overwrite test_rmse of the named methods, `[seeds][tasks]`."""
    results = json.loads((folder / "results.json").read_text())
    for method in results["methods"]:
        name = method["name"].replace("lambda=1", "one").replace("lambda=0", "zero")
        if name in rmse:
            columns = zip(*rmse[name], strict=True)
            method["test_rmse"] = {task: list(c) for task, c in zip(results["tasks"], columns, strict=True)}
    (folder / "results.json").write_text(json.dumps(results))


class TestFacts:
    def test_means_spreads_and_ratios_by_hand(self, tmp_path: Path) -> None:
        write_run(tmp_path, ("A", "B"), (0, 1), ("budget", "lambda=1", "lambda=0"), epochs=2, molecules=3)
        set_rmse(tmp_path, budget=[[0.1, 0.3], [0.2, 0.4]], one=[[0.2, 0.4], [0.4, 0.5]], zero=[[0.1, 0.2], [0.1, 0.8]])
        facts = report_facts(tmp_path)
        budget, one, zero = facts.methods
        assert budget.rmse == pytest.approx(0.25)
        assert budget.rmse_std == pytest.approx(0.1 / np.sqrt(2))  # seeds 0.2 and 0.3
        found = facts.difference(budget, one)
        assert found is not None
        assert found.absolute == pytest.approx(-0.125)  # −0.1 and −0.15
        assert found.relative == pytest.approx(-0.125 / 0.375)
        # Student's t for one degree of freedom is 12.706; the split has 150 test molecules for 1206 trained on.
        half = 12.7062 * 0.05 / np.sqrt(2) * np.sqrt(1 / 2 + 150 / 1206)
        assert found.certainty.low == pytest.approx(-0.125 - half, rel=1e-4)
        assert found.interval[1] == pytest.approx((-0.125 + half) / 0.375, rel=1e-4)
        np.testing.assert_allclose(found.by_task, [0.5, 0.775])
        assert found.ratio == pytest.approx((0.5 + 0.75 + 0.5 + 0.8) / 4)
        assert (found.tasks_better, found.certainty.holds_for_seeds, found.certainty.holds_for_tasks) == (
            2,
            False,
            None,
        )
        control = facts.difference(budget, zero)
        assert control is not None
        assert control.ratio == pytest.approx((1 + 1.5 + 2 + 0.5) / 4)
        assert control.absolute == pytest.approx((0.05 - 0.15) / 2)
        assert control.tasks_better == 1
        assert facts.best is budget
        assert facts.best_learned is budget

    def test_difference_uses_the_shared_seeds_only(self, tmp_path: Path) -> None:
        write_run(tmp_path, ("A",), (0, 1), ("budget", "lambda=0"), epochs=2, molecules=3)
        results = json.loads((tmp_path / "results.json").read_text())
        results["methods"][0]["seeds"], results["methods"][1]["seeds"] = [0, 1], [1, 2]
        results["methods"][0]["test_rmse"] = {"A": [9.0, 1.0]}
        results["methods"][1]["test_rmse"] = {"A": [2.0, 9.0]}
        (tmp_path / "results.json").write_text(json.dumps(results))
        facts = report_facts(tmp_path)
        found = facts.difference(*facts.methods)
        assert found is not None
        assert (found.seeds, found.absolute, found.certainty.holds_for_seeds) == (1, -1.0, None)

    def test_landscape_takes_each_seeds_level_out(self, tmp_path: Path) -> None:
        write_run(tmp_path, seeds=(0, 1))
        names = ["DS|HV", "DS|BP", "HV|BP"]
        rows = [
            ("grid", 0, 0, 0.2, 0.2, 0.2, 1.0, 1.0),
            ("grid", 0, 1, 1.0, 1.0, 1.0, 3.0, 1.0),
            ("grid", 1, 0, 0.2, 0.2, 0.2, 10.0, 1.0),
            ("grid", 1, 1, 1.0, 1.0, 1.0, 14.0, 1.0),
            ("tpe", 1, 0, 0.5, 0.5, 0.5, 11.0, 1.0),
        ]
        columns = ["method", "seed", "trial", *names, "val_rmse", "wall_s"]
        pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "trials.csv", index=False)
        found = search_landscape(report_facts(tmp_path))
        assert found is not None
        # The grid's means are 2 and 12, their mean 7: seed 0 is raised by 5, seed 1 lowered by 5.
        np.testing.assert_allclose(found.values, [(6 + 5) / 2, (8 + 9) / 2, 6])
        assert found.best == {"grid": 0, "TPE": 2}
        assert found.names == ("budget", "budget", "direct", "direct")

    def test_learned_paths_are_means_of_both_directions(self, demo: tuple[Path, dict[str, Any], Page]) -> None:
        folder, _, _ = demo
        found = search_landscape(report_facts(folder))
        assert found is not None
        history = pd.read_csv(folder / "ratios_history.csv")
        first = history[(history.method == "budget") & (history.seed == 0) & (history.epoch == 30)]
        both = first[first.target.isin(["DS", "HV"]) & first.source.isin(["DS", "HV"])]
        assert found.trajectories[0].shape == (31, 3)
        assert found.trajectories[0][-1, 0] == pytest.approx(both["lambda"].mean())

    def test_signed_rank_test_over_the_tasks(self) -> None:
        other = np.ones((2, 7))
        found = certainty(other * 0.9, other, test_share=0.1)
        assert found.p_tasks == pytest.approx(2 / 2**7)  # all seven agree
        assert found.holds_for_tasks
        mixed = 1 + np.array([[-0.3, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06]] * 2)
        found = certainty(mixed, other, test_share=0.1)
        # The rank of the only negative is 7; rank sums of at most 7: 1, 1, 1, 2, 2, 3, 4, 5 subsets of 1…7.
        assert found.p_tasks == pytest.approx(2 * (1 + 1 + 1 + 2 + 2 + 3 + 4 + 5) / 2**7)
        assert found.holds_for_tasks is False
        assert np.isnan(certainty(other[:, :5] * 0.9, other[:, :5], test_share=0.1).p_tasks)

    def test_a_task_without_test_labels_in_a_seed(self) -> None:
        mine = np.array([[0.1, 0.2, np.nan], [0.3, np.nan, np.nan]])
        theirs = np.array([[0.2, 0.2, np.nan], [0.2, np.nan, np.nan]])
        found = certainty(mine, theirs, test_share=0.0)
        assert (found.low + found.high) / 2 == pytest.approx((-0.05 + 0.1) / 2)

    def test_differences_against_the_control(self, tmp_path: Path) -> None:
        write_run(tmp_path, ("A", "B"), (0, 1), ("budget", "lambda=1", "lambda=0"), epochs=2, molecules=3)
        set_rmse(tmp_path, budget=[[0.1, 0.3], [0.2, 0.4]], one=[[0.2, 0.4], [0.4, 0.5]], zero=[[0.1, 0.2], [0.1, 0.8]])
        found = difference_facts(report_facts(tmp_path))
        assert found is not None
        assert (found.reference, found.methods) == ("λ = 0", ("budget", "λ = 1"))
        np.testing.assert_allclose(found.mean, [100 * -0.05 / 0.3, 100 * 0.075 / 0.3])
        np.testing.assert_allclose(found.by_seed[0], [100 * 0.05 / 0.3, 100 * -0.15 / 0.3])
        assert found.tasks == ("B", "A")  # what the best method helped most comes first
        np.testing.assert_allclose(found.by_task[0], [100 * ((1.5 + 0.5) / 2 - 1), 100 * ((1 + 2) / 2 - 1)], atol=1e-9)

    def test_agreement_of_the_seeds_on_the_order_of_lambda(self) -> None:
        assert agreement(np.array([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0], [3.0, 2.0, 1.0]])) == pytest.approx(-1 / 3)
        assert np.isnan(agreement(np.array([[1.0, 2.0, 3.0]])))

    def test_trials_of_one_lambda_for_all_pairs(self) -> None:
        rows = [("grid", 0, 0, 0.0, 1.0, 5.0), ("grid", 0, 1, 1.0, 3.0, 5.0), ("grid", 1, 0, 0.0, 10.0, 7.0)]
        rows += [("grid", 1, 1, 1.0, 14.0, 7.0), ("tpe", 1, 0, 0.5, 11.0, 1.0)]
        trials = pd.DataFrame(rows, columns=["method", "seed", "trial", "all pairs", "val_rmse", "wall_s"])
        found = over_one_lambda(trials, "all pairs")
        assert list(found["kind"]) == ["TPE", "grid", "grid"]
        np.testing.assert_allclose(found["mean"], [6, 5.5, 8.5])
        np.testing.assert_allclose(found["seconds"], [1, 6, 6])
        assert list(found["n"]) == [1, 2, 2]


class TestAnswer:
    def words(self, folder: Path, **rmse: list[list[float]]) -> str:
        names = {"one": "lambda=1", "zero": "lambda=0"}
        seeds = tuple(range(len(next(iter(rmse.values())))))
        write_run(folder, ("A",), seeds, tuple(names.get(n, n) for n in rmse), epochs=2, molecules=3)
        set_rmse(folder, **rmse)
        found = answer(report_facts(folder))
        lines = [f"{each.other}: {each.verdict}; {each.certain}" for each in (*found.against, *found.learned_against)]
        return "\n".join([found.headline, found.summary, found.learned, *lines, *found.notes])

    def test_a_clear_win(self, tmp_path: Path) -> None:
        words = self.words(tmp_path, budget=[[0.18], [0.181]], one=[[0.2], [0.201]], zero=[[0.19], [0.191]])
        assert "has the lowest mean test RMSE, and 2 seeds are enough to tell" in words
        assert (
            "control): RMSE 5.2 % lower; sure: with other seeds between 5.2 % and 5.2 % lower (95 % interval)" in words
        )
        assert "(GATE): RMSE 10.0 % lower; sure" in words
        assert "λ = 0 is the control" in words

    def test_a_lead_that_another_seed_may_turn_round_is_called_so(self, tmp_path: Path) -> None:
        words = self.words(tmp_path, budget=[[0.18], [0.20]], zero=[[0.19], [0.191]])
        assert "has the lowest mean test RMSE, but 2 seeds cannot tell it from λ = 0 (the control)." in words
        assert "RMSE 0.3 % lower; cannot tell: with other seeds between" in words

    def test_all_others_are_named_at_once(self, tmp_path: Path) -> None:
        wide = {"budget": [[0.1], [0.2]], "one": [[0.2], [0.11]], "zero": [[0.2], [0.12]], "direct": [[0.2], [0.13]]}
        assert "but 2 seeds cannot tell it from any other, λ = 0 (the control) included." in self.words(
            tmp_path, **wide
        )

    def test_lambda_is_told(self, demo: tuple[Path, dict[str, Any], Page], tmp_path: Path) -> None:
        folder, results, _ = demo
        per_seed = np.array(results["methods"][0]["lambda"]["per_seed"])
        words = answer(report_facts(folder)).lambda_
        assert f"DS → HV {per_seed[:, 1, 0].mean():.2f} ± {per_seed[:, 1, 0].std(ddof=1):.2f}" in words
        tasks = [f"T{i}" for i in range(8)]
        results = write_run(tmp_path, tasks, epochs=1, molecules=2, shared=True)
        off = np.array(results["methods"][0]["lambda"]["per_seed"])[:, ~np.eye(8, dtype=bool)]
        found = answer(report_facts(tmp_path))
        assert (
            f"median {np.median(off.mean(axis=0)):.2f}, {100 * (off.mean(axis=0) < 0.1).mean():.0f} %" in found.lambda_
        )
        assert "The seeds order the 56 λ with a rank correlation of" in found.lambda_
        assert any("over one λ for all pairs" in note for note in found.notes)

    def test_the_control_may_win(self, tmp_path: Path) -> None:
        words = self.words(tmp_path, budget=[[0.2], [0.21]], zero=[[0.1], [0.11]])
        assert words.startswith("Constant λ = 0 (no transfer, the control) has the lowest mean test RMSE")
        assert "Best learned: learned λ (one-step hypergradient on a budget), test RMSE 0.2050 ± 0.0071" in words
        assert "control): RMSE 95.2 % higher" in words

    def test_one_seed_claims_nothing_about_spread(self, tmp_path: Path) -> None:
        words = self.words(tmp_path, budget=[[0.2]], zero=[[0.21]])
        assert "in the one seed that was run" in words
        assert "One seed: how far the numbers would move" in words
        assert "cannot tell: one seed" in words

    def test_no_control_is_said(self, tmp_path: Path) -> None:
        assert "No control was run" in self.words(tmp_path, budget=[[0.2]])

    @pytest.mark.parametrize(
        ("value", "text"), [(3.14, "3.1 s"), (42.4, "42 s"), (310, "5 min 10 s"), (7500, "2 h 05 min")]
    )
    def test_seconds(self, value: float, text: str) -> None:
        assert seconds(value) == text

    def test_percent(self) -> None:
        assert (percent(-0.0516), percent(0.002)) == ("5.2 % lower", "0.2 % higher")

    def test_plus_minus(self) -> None:
        assert plus_minus(0.25, 0.01) == "0.2500 ± 0.0100"
        assert plus_minus(123.456, 7.89, ".4g") == "123.5 ± 7.9"
        assert plus_minus(0.0123456, float("nan"), ".4g") == "0.01235"
        assert plus_minus(float("nan"), 1.0) == "–"


class TestPage:
    def test_contains_the_numbers_of_results_json(self, demo: tuple[Path, dict[str, Any], Page]) -> None:
        _, results, page = demo
        for method in results["methods"]:
            assert method["title"] in page.text
            for values in method["test_rmse"].values():
                assert f"{np.mean(values):.4f} ± {np.std(values, ddof=1):.4f}" in page.text
            for values in method["test_rmse_units"].values():
                assert f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}" in page.text
        for number in ("1507", "1055", "23 × row left out", "5 min 24 s", "torch 2.13.0", results["command"]):
            assert number in page.text

    def test_needs_nothing_from_outside(self, demo: tuple[Path, dict[str, Any], Page]) -> None:
        _, _, page = demo
        for tag, attributes in page.elements:
            assert tag not in ("iframe", "object", "img", "base")
            assert tag != "link" or attributes["href"] == "data:,"
            assert "src" not in attributes
            assert tag != "a" or (attributes["href"] or "").startswith("#")
        assert len(page.scripts) == 3
        assert "showSendToCloud: false" in page.scripts[2]
        policy = next(a["content"] for t, a in page.elements if t == "meta" and "http-equiv" in a)
        assert policy is not None
        assert policy.startswith("default-src 'none'; script-src 'sha256-")

    def test_every_figure_has_its_place_and_caption(self, demo: tuple[Path, dict[str, Any], Page]) -> None:
        _, _, page = demo
        places = {a["data-figure"]: a for _, a in page.elements if "data-figure" in a}
        assert set(places) == set(page.figures)
        assert {"landscape", "heatmap-budget", "heatmap-direct", "trajectory-budget", "validation-epoch"} < set(places)
        assert {"validation-seconds", "parity-0", "parity-1", "parity-2"} < set(places)
        ids = {a["id"] for _, a in page.elements if "id" in a}
        assert all(a["role"] == "img" and a["aria-labelledby"] in ids for a in places.values())
        assert "the search is symmetric: drawn is the mean of λ from A to B and λ from B to A" in page.text

    def test_hostile_names_stay_text(self, tmp_path: Path) -> None:
        smiles, unit = "</script><!--<script>alert(3)//", "<i>u</i>&amp;"
        write_run(tmp_path, HOSTILE, smiles=smiles, unit=unit, epochs=3, molecules=5)
        raw = (page_path := write_report(tmp_path)).read_text(encoding="utf-8")
        page = Page(page_path)
        assert len(page.scripts) == 3
        assert not [tag for tag, _ in page.elements if tag in ("img", "i", "b")]
        assert not [a for _, attributes in page.elements for a in attributes if a.startswith("on")]
        for name in HOSTILE:
            assert name in page.text
        data = raw[raw.index('id="figures">') :].split("</script>")[0]
        assert not set("<>&") & set(data[len('id="figures">') :])
        # In plotly's texts the names are escaped once: what it draws is the name itself.
        ticks = page.figures["heatmap-budget"]["layout"]["xaxis"]["ticktext"]
        shown = [html.unescape(tick) for tick in ticks]
        assert sorted(name[0] + name[-1] for name in shown) == sorted(name[0] + name[-1] for name in HOSTILE)
        assert not any("<" in tick for tick in ticks)
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
        assert "one training" in page.text
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

    @pytest.mark.parametrize("kinds", [("tpe",), ("grid", "tpe")])
    @pytest.mark.parametrize("shared", [False, True])
    def test_trainings_that_diverged(self, tmp_path: Path, kinds: tuple[str, ...], shared: bool) -> None:
        write_run(tmp_path, epochs=2, molecules=3, shared=shared)
        trials = pd.read_csv(tmp_path / "trials.csv")
        trials.loc[trials["method"].isin(kinds), "val_rmse"] = np.inf
        trials.to_csv(tmp_path / "trials.csv", index=False)
        page = Page(write_report(tmp_path))
        assert ("landscape" in page.figures) is (kinds == ("tpe",))
        assert "validation-seconds" in page.figures

    def test_written_twice_is_the_same(self, demo: tuple[Path, dict[str, Any], Page]) -> None:
        folder, _, _ = demo
        before = (folder / "report.html").read_bytes()
        assert write_report(folder).read_bytes() == before


class TestDamage:
    @pytest.mark.parametrize(
        "name",
        ["results.json", "history.csv", "ratios_history.csv", "predictions.csv", "set_aside.csv", "trials.csv"],
    )
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
        path = tmp_path / "history.csv"
        frame = pd.read_csv(path, dtype=str)
        frame.loc[3, "val_rmse"] = "abc"
        frame.to_csv(path, index=False)
        with pytest.raises(ReportError, match=r"history\.csv, line 5, column 'val_rmse': 'abc'; a number is wanted"):
            report_facts(tmp_path)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda r: r.pop("methods"), "lacks 'methods'"),
            (lambda r: r.update(methods=[]), "methods is empty"),
            (lambda r: r.update(tasks=["A", "A"]), "none of them twice"),
            (lambda r: r["task_info"].pop("HV"), "task_info lacks 'HV'"),
            (lambda r: r["data"].pop("molecules"), "lacks 'molecules'"),
            (lambda r: r["methods"][1].pop("wall_s"), r"methods\[1\] lacks 'wall_s'"),
            (lambda r: r["methods"][0].update(seeds=[]), "no seeds"),
            (lambda r: r["methods"][0]["test_rmse"].pop("HV"), r"'budget', test_rmse lacks the tasks \['HV'\]"),
            (lambda r: r["methods"][0]["test_rmse"].update(HV=[1.0]), r"test_rmse\['HV'\] has shape \(1,\); \(3,\)"),
            (lambda r: r["methods"][0]["lambda"].update(per_seed=[[1.0]]), r"per_seed has shape \(1, 1\); \(3, 3, 3\)"),
            (lambda r: r["search"].update(parameters=["DS|HV", "DS|BP", "X|Y"]), "lacks the columns"),
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
