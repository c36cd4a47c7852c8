"""The page of any comparison: facts against numbers computed by hand, and a page that nothing in the data can break."""

import html
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bilevel_hpo.report import Gallery, PageFigure, ReportError, Section, report_facts, write_report
from bilevel_hpo.report._answer import answer
from bilevel_hpo.report._differences import difference_facts
from bilevel_hpo.report._facts import decimals
from bilevel_hpo.report._lambda_words import agreement, lambda_words
from bilevel_hpo.report._landscape import learned_paths, search_landscape
from bilevel_hpo.report._search_figures import over_one_lambda, search_figures
from bilevel_hpo.report._training_figures import validation
from bilevel_hpo.report._vector_figures import vector_facts
from bilevel_hpo.report._words import percent, plus_minus, seconds
from tests.engine.report_folder import ACCURACY, METHODS, RMSE, TITLES, change, write_folder
from tests.report_page import Page

HOSTILE = ("<script>alert(1)</script>", '"><img src=x onerror=alert(2)>', "a<b>&lt;{{ 7*7 }}")
DSBP = ("DS", "HV", "BP")
SHARES = [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (0.2, 0.3), (0.3, 0.2)]
MATRIX: dict[str, Any] = {
    "labels": DSBP,
    "tasks": DSBP,
    "metric": RMSE,
    "matrix": True,
    "axes": ["DS|HV", "DS|BP", "HV|BP"],
    "search": {"symmetric": True},
}


def scores(folder: Path, tasks: tuple[str, ...], metric: dict[str, Any] = RMSE, **test: list[list[float]]) -> Path:
    """A folder of these test scores `[seeds][tasks]`; `one` and `zero` are λ = 1 and λ = 0."""
    names = {"one": "lambda=1", "zero": "lambda=0", "frozen": "learned-frozen"}
    methods = [names.get(name, name) for name in test]
    seeds = range(len(next(iter(test.values()))))
    results = write_folder(folder, seeds=seeds, methods=methods, tasks=tasks, metric=metric)
    for method, values in zip(results["methods"], test.values(), strict=True):
        method["test"] = {task: list(c) for task, c in zip(tasks, zip(*values, strict=True), strict=True)}
    return change(folder, results)


def said(folder: Path) -> str:
    found = answer(report_facts(folder))
    lines = [f"{each.other}: {each.verdict}; {each.certain}" for each in (*found.rivals, *found.learned_rivals)]
    return "\n".join([found.headline, found.summary, found.learned, *lines, *found.notes])


class TestFacts:
    def test_means_and_spreads_by_hand(self, tmp_path: Path) -> None:
        facts = report_facts(scores(tmp_path, ("A", "B"), learned=[[0.1, 0.3], [0.2, 0.4]], zero=[[1, 1], [1, 1]]))
        learned, control = facts.methods
        assert learned.score == pytest.approx(0.25)
        assert learned.std == pytest.approx(0.1 / np.sqrt(2))  # seeds 0.2 and 0.3
        assert (facts.best, facts.best_learned, facts.shown, facts.control) == (learned, learned, learned, control)

    def test_the_highest_accuracy_is_the_best(self, tmp_path: Path) -> None:
        facts = report_facts(scores(tmp_path, ("A",), ACCURACY, learned=[[0.8]], one=[[0.9]], zero=[[0.7]]))
        assert [method.name for method in facts.ranked] == ["lambda=1", "learned", "lambda=0"]
        found = facts.difference(facts.methods[0], facts.methods[2])
        assert found is not None
        assert (found.difference, found.better, found.scale) == (pytest.approx(0.1), True, "difference")

    def test_difference_uses_the_shared_seeds_only(self, tmp_path: Path) -> None:
        results = write_folder(tmp_path, seeds=(0, 1), methods=("learned", "lambda=0"), metric=RMSE)
        results["methods"][1]["seeds"] = [1, 2]
        results["methods"][0]["test"] = {"accuracy": [9.0, 1.0]}
        results["methods"][1]["test"] = {"accuracy": [2.0, 9.0]}
        facts = report_facts(change(tmp_path, results))
        found = facts.difference(*facts.methods)
        assert found is not None
        assert (found.seeds, found.difference, found.holds_for_seeds) == (1, -1.0, None)

    @pytest.mark.parametrize(
        ("split", "share"),
        [
            ({"test_share": 0.3}, 0.3),
            ({"train": 100, "validation": 20, "selection": 20, "test": 30}, 0.25),
            ({"train": 100, "test": 30}, 0.3),
            ({}, np.nan),
            ({"method": "random"}, np.nan),
        ],
    )
    def test_share_of_the_test_data(self, tmp_path: Path, split: dict[str, Any], share: float) -> None:
        write_folder(tmp_path, split=split)
        assert report_facts(tmp_path).test_share == pytest.approx(share, nan_ok=True)

    def test_control(self, tmp_path: Path) -> None:
        results = write_folder(tmp_path)
        assert report_facts(tmp_path).control.name == "lambda=0"
        found = report_facts(change(tmp_path, results | {"control": "grid", "control_note": "The cheap way."}))
        assert found.control.name == "grid"
        assert "The cheap way." in answer(found).notes
        assert [rival.other for rival in answer(found).rivals][:2] == ["grid search, the control", "constant λ = 1"]

    def test_a_method_that_failed_in_all_seeds_is_named_and_ranked_nowhere(self, tmp_path: Path) -> None:
        results = write_folder(tmp_path)
        results["methods"][3] |= {"seeds": [], "test": {}, "failures": ["seed 0: diverged"]}
        facts = report_facts(change(tmp_path, results))
        assert len(facts.ranked) == len(METHODS) - 1
        assert "grid search: seed 0: diverged." in answer(facts).notes
        assert "failed" in Page(write_report(facts)).text

    def test_a_missing_score_makes_no_method_the_best(self, tmp_path: Path) -> None:
        results = write_folder(tmp_path, seeds=(0, 1), methods=("learned", "lambda=0"), metric=RMSE)
        results["methods"][0]["test"] = {"accuracy": [None, None]}
        facts = report_facts(change(tmp_path, results))
        assert facts.best.name == "lambda=0"
        assert facts.difference(*facts.methods) is None
        write_report(facts)

    @pytest.mark.parametrize(
        ("largest", "text"),
        [(0.9, "0.9000"), (0.05, "0.05000"), (9.9, "9.9000"), (55, "55.000"), (3000, "3000.0"), (1e6, "1000000")],
    )
    def test_digits_of_a_score(self, largest: float, text: str) -> None:
        assert f"{largest:{decimals(largest, 4)}}" == text


class TestHigherIsBetter:
    """An accuracy and the error that it leaves are one result: everything must say the same of both."""

    @pytest.fixture
    def both(self, tmp_path: Path) -> tuple[Any, Any]:
        up = write_folder(tmp_path / "up", ("a", "b"), tasks=("A", "B"))
        down = json.loads(json.dumps(up)) | {"metric": {"name": "error", "higher_is_better": False}}
        write_folder(tmp_path / "down", ("a", "b"), tasks=("A", "B"))
        for method in down["methods"]:
            method["test"] = {task: [1 - score for score in values] for task, values in method["test"].items()}
        change(tmp_path / "down", down)
        for name in ("trials.csv", "history.csv"):
            frame = pd.read_csv(tmp_path / "down" / name)
            frame["selection"] = 1 - frame["selection"]
            frame.to_csv(tmp_path / "down" / name, index=False)
        return report_facts(tmp_path / "up"), report_facts(tmp_path / "down")

    def test_ranks_and_differences(self, both: tuple[Any, Any]) -> None:
        up, down = both
        assert [method.name for method in up.ranked] == [method.name for method in down.ranked]
        mine, theirs = difference_facts(up), difference_facts(down)
        assert (mine.methods, mine.tasks) == (theirs.methods, theirs.tasks)
        assert (mine.percent, theirs.percent) == (False, True)
        control = down.control.score
        np.testing.assert_allclose(mine.mean, -theirs.mean * control / 100)
        np.testing.assert_allclose(mine.low, -theirs.high * control / 100)
        assert (mine.mean > 0).all()
        assert mine.mean[0] == max(mine.mean)

    def test_words(self, both: tuple[Any, Any]) -> None:
        mine, theirs = (answer(facts) for facts in both)
        assert "has the highest mean test accuracy" in mine.headline
        assert "has the lowest mean test error" in theirs.headline
        for a, b in zip(mine.rivals, theirs.rivals, strict=True):
            assert (a.verdict[-6:], b.verdict[-6:]) == ("higher", " lower")
            wins = "higher in 3 of 3 seeds, 2 of 2 tasks"
            assert (a.evidence.endswith(wins), b.evidence.endswith(wins.replace("higher", "lower"))) == (True, True)
            assert a.certain.startswith("sure") is b.certain.startswith("sure")

    def test_landscape_curves_and_tables(self, both: tuple[Any, Any]) -> None:
        up, down = both
        mine, theirs = search_landscape(up), search_landscape(down)
        assert mine.best == theirs.best
        assert mine.optimum == theirs.optimum
        np.testing.assert_allclose(mine.values, 1 - theirs.values)
        curves = [{figure.id: figure.table for figure in validation(facts)} for facts in both]
        for name in ("validation-epoch", "validation-seconds"):
            np.testing.assert_allclose(curves[0][name]["mean"], 1 - curves[1][name]["mean"])
        pages = [Page(write_report(facts)) for facts in both]
        marked = [[i for i, (tag, a) in enumerate(page.elements) if a.get("class") == "number best"] for page in pages]
        assert marked[0] == marked[1]
        assert len(marked[0]) == 1 + 2  # the best method, and the best of each task


class TestAnswer:
    def test_a_clear_win(self, tmp_path: Path) -> None:
        words = said(scores(tmp_path, ("A",), learned=[[0.18], [0.181]], one=[[0.2], [0.201]], zero=[[0.19], [0.191]]))
        assert "has the lowest test RMSE, and 2 seeds are enough to tell" in words
        assert (
            "λ = 0, the control: RMSE 5.2 % lower; sure: with other seeds between 5.2 % and 5.2 % lower (95 % interval)"
            in words
        )
        assert "constant λ = 1: RMSE 10.0 % lower; sure" in words

    def test_a_higher_accuracy(self, tmp_path: Path) -> None:
        test = {"learned": [[0.92], [0.93]], "zero": [[0.90], [0.91]]}
        words = said(scores(tmp_path, ("A",), ACCURACY, **test))
        assert "has the highest test accuracy, and 2 seeds are enough to tell" in words
        assert "accuracy 0.0200 higher; sure: with other seeds between 0.0200 and 0.0200 higher" in words

    @pytest.mark.parametrize(("unit", "size"), [("%", "2.000 percentage points"), ("kJ", "2.000 kJ"), ("", "2.000")])
    def test_units(self, tmp_path: Path, unit: str, size: str) -> None:
        metric = ACCURACY | {"unit": unit}
        words = said(scores(tmp_path, ("A",), metric, learned=[[92], [93]], zero=[[90], [91]]))
        assert f"accuracy {size} higher; sure" in words
        assert f"Test accuracy {f'92.500 ± 0.707 {unit}'.rstrip()} (mean" in words

    def test_scores_below_zero_have_no_ratio(self, tmp_path: Path) -> None:
        facts = report_facts(scores(tmp_path, ("A",), learned=[[-1.5], [-1.4]], zero=[[0.5], [0.4]]))
        assert facts.scale == "difference"
        assert "RMSE 1.9000 lower" in said(tmp_path)
        assert "difference to λ = 0" in Page(write_report(facts)).text

    def test_a_lead_that_another_seed_may_turn_round_is_called_so(self, tmp_path: Path) -> None:
        words = said(scores(tmp_path, ("A",), learned=[[0.18], [0.20]], zero=[[0.19], [0.191]]))
        assert "has the lowest test RMSE, but 2 seeds cannot tell it from λ = 0 (the control)." in words
        assert "RMSE 0.3 % lower; cannot tell: with other seeds between" in words

    def test_all_others_are_named_at_once(self, tmp_path: Path) -> None:
        wide = {"learned": [[0.1], [0.2]], "one": [[0.2], [0.11]], "zero": [[0.2], [0.12]], "frozen": [[0.2], [0.13]]}
        words = said(scores(tmp_path, ("A",), **wide))
        assert "but 2 seeds cannot tell it from any other, λ = 0 (the control) included." in words

    def test_many_doubtful_rivals_are_counted(self, tmp_path: Path) -> None:
        wide = {"learned": [[0.1], [0.2]], "zero": [[0.2], [0.12]], "frozen": [[0.2], [0.13]], "grid": [[0.2], [0.13]]}
        words = said(scores(tmp_path, ("A",), **wide, tpe=[[0.2], [0.13]], one=[[0.9], [1.0]]))
        assert "cannot tell it from 4 of the 5 others, λ = 0 (the control) among them." in words

    def test_the_control_may_win(self, tmp_path: Path) -> None:
        words = said(scores(tmp_path, ("A",), learned=[[0.2], [0.21]], zero=[[0.1], [0.11]]))
        assert words.startswith("Constant λ = 0, the control, has the lowest test RMSE")
        assert "Best learned: learned λ (one-step hypergradient), test RMSE 0.2050 ± 0.0071" in words
        assert "λ = 0, the control: RMSE 95.2 % higher" in words

    def test_one_seed_claims_nothing_about_spread(self, tmp_path: Path) -> None:
        words = said(scores(tmp_path, ("A",), learned=[[0.2]], zero=[[0.21]]))
        assert "in the one seed that was run" in words
        assert "One seed: how far the numbers would move" in words
        assert "cannot tell: one seed" in words
        assert "±" not in Page(write_report(tmp_path)).text

    def test_an_unknown_share_of_the_test_data_is_said(self, tmp_path: Path) -> None:
        write_folder(tmp_path, split={"method": "random"})
        assert "cannot tell: how many test examples there are beside those trained on is not known" in said(tmp_path)

    def test_no_control_is_said(self, tmp_path: Path) -> None:
        assert "No control was run" in said(scores(tmp_path, ("A",), learned=[[0.2]]))

    @pytest.mark.parametrize(
        ("value", "text"), [(3.14, "3.1 s"), (42.4, "42 s"), (310, "5 min 10 s"), (7500, "2 h 05 min")]
    )
    def test_seconds(self, value: float, text: str) -> None:
        assert seconds(value) == text

    @pytest.mark.parametrize(
        ("title", "sentence"),
        [
            ("learned: one step", "Learned λ (one step)"),
            ("learned in one training", "λ learned in one training"),
            ("λ of another", "λ of another"),
            ("grid search", "Grid search"),
        ],
    )
    def test_titles_in_sentences(self, tmp_path: Path, title: str, sentence: str) -> None:
        results = write_folder(tmp_path, methods=("learned",))
        results["methods"][0]["title"] = title
        assert said(change(tmp_path, results)).startswith(f"{sentence}: test accuracy")

    def test_percent(self) -> None:
        assert (percent(-0.0516), percent(0.002)) == ("5.2 % lower", "0.2 % higher")

    def test_plus_minus(self) -> None:
        assert plus_minus(0.25, 0.01) == "0.2500 ± 0.0100"
        assert plus_minus(123.456, 7.89, ".4g") == "123.5 ± 7.9"
        assert plus_minus(0.0123456, float("nan"), ".4g") == "0.01235"
        assert plus_minus(float("nan"), 1.0) == "–"


class TestLambda:
    def test_few_are_named(self, tmp_path: Path) -> None:
        results = write_folder(tmp_path)
        facts = report_facts(tmp_path)
        per_seed = np.array(results["methods"][0]["lambda"]["per_seed"])
        for column, name in enumerate("abc"):
            mean, std = per_seed[:, column].mean(), per_seed[:, column].std(ddof=1)
            assert f"{name} {mean:.2f} ± {std:.2f}" in lambda_words(facts, facts.methods[0])

    def test_of_many_the_extremes_are_named(self, tmp_path: Path) -> None:
        results = write_folder(tmp_path, [f"w{i}" for i in range(200)], axes=["all"])
        facts = report_facts(tmp_path)
        mean = np.mean(results["methods"][0]["lambda"]["per_seed"], axis=0)
        words = lambda_words(facts, facts.methods[0])
        assert f"median {np.median(mean):.2f}, 80 % of the 200 λ between {np.quantile(mean, 0.1):.2f} and" in words
        assert f"largest w{mean.argmax()} {mean.max():.2f}" in words
        assert "The seeds order the 200 λ with a rank correlation of" in words

    def test_small_lambda_keep_their_digits(self, tmp_path: Path) -> None:
        results = write_folder(tmp_path, seeds=(0,))
        results["methods"][0]["lambda"]["per_seed"] = [[0.00123, 0.0001, 0.00047]]
        facts = report_facts(change(tmp_path, results))
        assert lambda_words(facts, facts.methods[0]) == "λ: a 0.0012, c 0.0005, b 0.0001."

    def test_both_directions_of_a_symmetric_search_are_one(self, tmp_path: Path) -> None:
        results = write_folder(tmp_path, seeds=(0,), **MATRIX)
        results["methods"][3]["lambda"]["per_seed"] = [[[1, 0.2, 0.3], [0.2, 1, 0.4], [0.3, 0.4, 1]]]
        facts = report_facts(change(tmp_path, results))
        assert lambda_words(facts, facts.methods[3]) == "λ: DS – HV 0.20, DS – BP 0.30, HV – BP 0.40."

    def test_one_lambda_for_all(self, tmp_path: Path) -> None:
        results = write_folder(tmp_path, seeds=(0, 1), axes=["all"])
        results["methods"][3]["lambda"]["per_seed"] = [[0.2] * 3, [0.5] * 3]
        facts = report_facts(change(tmp_path, results))
        assert lambda_words(facts, facts.methods[3]) == "One λ for all: 0.20, 0.50 (one for each seed)."
        assert "lambda-grid" not in Page(write_report(facts)).figures

    def test_scale(self, tmp_path: Path) -> None:
        write_folder(tmp_path, lambda_note="in units of the direct path", **MATRIX)
        facts = report_facts(tmp_path)
        begin = "λ (source → target, in units of the direct path, mean over 3 seeds): "
        assert lambda_words(facts, facts.methods[0]).startswith(begin)
        assert "λ from source → target, in units of the direct path." in Page(write_report(facts)).text

    def test_a_vector_from_its_start(self, tmp_path: Path) -> None:
        results = write_folder(tmp_path, ("a", "b", "c"))
        facts = report_facts(tmp_path)
        learned = facts.methods[0]
        found = vector_facts(facts, learned, learned.lambda_)
        mean = np.mean(results["methods"][0]["lambda"]["per_seed"], axis=0)
        assert found.names == tuple("abc"[i] for i in np.argsort(-mean))
        np.testing.assert_allclose(found.mean, np.sort(mean)[::-1])
        np.testing.assert_array_equal(found.start, 1)
        table = found.to_frame()
        assert list(table["label"]) == list(found.names)
        page = Page(write_report(facts))
        assert {"lambda-learned", "trajectory-learned", "lambda-grid"} < set(page.figures)
        assert not [name for name in page.figures if name.startswith(("heatmap", "transfer", "lambda-spread"))]

    def test_ten_thousand(self, tmp_path: Path) -> None:
        write_folder(
            tmp_path, [f"w{i}" for i in range(10_000)], seeds=(0,), axes=["all"], methods=("learned", "lambda=0")
        )
        facts = report_facts(tmp_path)
        page = Page(write_report(facts))
        assert (tmp_path / "report.html").stat().st_size < 6e6  # of which plotly.js is nearly all
        bars = page.figures["lambda-spread-learned"]["data"][-1]
        assert "10,000 λ" in page.text
        rows = page.figures["lambda-learned"]["layout"]["yaxis"]["ticktext"]
        order = np.argsort(-facts.methods[0].lambda_.mean, kind="stable")
        assert rows == [f"w{i}" for i in (*order[:10], *order[-10:])]
        assert bars["name"] == "after training"

    def test_lambda_over_orders_of_magnitude_stands_on_a_logarithmic_axis(self, tmp_path: Path) -> None:
        results = write_folder(tmp_path, seeds=(0,))
        results["methods"][0]["lambda"]["per_seed"] = [[1e-6, 1e-3, 1.0]]
        page = Page(write_report(change(tmp_path, results)))
        assert page.figures["lambda-learned"]["layout"]["xaxis"]["type"] == "log"
        results["methods"][0]["lambda"]["per_seed"] = [[0.0, 1e-3, 1.0]]
        page = Page(write_report(change(tmp_path, results)))
        assert "type" not in page.figures["lambda-learned"]["layout"]["xaxis"]

    def test_a_matrix(self, tmp_path: Path) -> None:
        write_folder(tmp_path, **MATRIX)
        page = Page(write_report(tmp_path))
        maps = {"heatmap-learned", "heatmap-std", "heatmap-asymmetry", "transfer-graph", "heatmap-grid", "heatmap-tpe"}
        assert maps < set(page.figures)
        assert not [name for name in page.figures if name.startswith("lambda-")]

    def test_a_matrix_of_other_sources_than_targets(self, tmp_path: Path) -> None:
        results = write_folder(tmp_path, seeds=(0,), methods=("learned", "lambda=0"), **MATRIX)
        for method in results["methods"]:
            method["lambda"] = {"targets": ["x"], "sources": ["p", "q"], "per_seed": [[[0.25, 0.5]]]}
        facts = report_facts(change(tmp_path, results))
        assert lambda_words(facts, facts.methods[0]) == "λ (source → target): q → x 0.50, p → x 0.25."
        page = Page(write_report(facts))
        assert "heatmap-learned" in page.figures
        assert not {"heatmap-asymmetry", "transfer-graph"} & set(page.figures)

    def test_none_at_all(self, tmp_path: Path) -> None:
        write_folder(tmp_path, (), methods=("lambda=1", "lambda=0"))
        page = Page(write_report(tmp_path))
        assert set(page.figures) == {"differences", "validation-epoch", "validation-seconds"}
        assert not [a for tag, a in page.elements if tag == "h2" and a.get("id") == "lambda"]

    def test_agreement_of_the_seeds_on_the_order_of_lambda(self) -> None:
        assert agreement(np.array([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0], [3.0, 2.0, 1.0]])) == pytest.approx(-1 / 3)
        assert np.isnan(agreement(np.array([[1.0, 2.0, 3.0]])))


class TestSearch:
    def trials(self, folder: Path, axes: list[str], rows: list[tuple[Any, ...]], **more: Any) -> Any:
        write_folder(folder, seeds=(0, 1), axes=axes, **more)
        columns = ["method", "seed", "trial", *axes, "selection", "wall_s"]
        pd.DataFrame(rows, columns=columns).to_csv(folder / "trials.csv", index=False)
        return report_facts(folder)

    def test_landscape_takes_each_seeds_level_out(self, tmp_path: Path) -> None:
        rows = [
            ("grid", 0, 0, 0.2, 0.2, 1.0, 1.0),
            ("grid", 0, 1, 1.0, 1.0, 3.0, 1.0),
            ("grid", 1, 0, 0.2, 0.2, 10.0, 1.0),
            ("grid", 1, 1, 1.0, 1.0, 14.0, 1.0),
            ("gp", 1, 0, 0.5, 0.5, 11.0, 1.0),
        ]
        found = search_landscape(self.trials(tmp_path, ["a", "b"], rows, metric=RMSE, labels=("a", "b")))
        # The grid's means are 2 and 12, their mean 7: seed 0 is raised by 5, seed 1 lowered by 5.
        np.testing.assert_allclose(found.values, [(6 + 5) / 2, (8 + 9) / 2, 6])
        assert found.best == {"grid": 0, "GP": 2}
        assert found.names == ("learned", "learned")

    def test_without_a_grid_the_values_stay(self, tmp_path: Path) -> None:
        rows = [("random", 0, 0, 0.2, 0.2, 0.7, 1.0), ("random", 1, 0, 0.3, 0.3, 0.9, 1.0)]
        found = search_landscape(self.trials(tmp_path, ["a", "b"], rows, labels=("a", "b")))
        np.testing.assert_array_equal(found.values, [0.7, 0.9])
        assert found.best == {"random": 1}  # of an accuracy

    @pytest.mark.parametrize("axis", ["DS|HV", "DS->HV"])
    def test_learned_paths_on_the_axes_of_a_matrix(self, tmp_path: Path, axis: str) -> None:
        write_folder(tmp_path, **MATRIX | {"axes": [axis, "DS|BP"]})
        facts = report_facts(tmp_path)
        path = learned_paths(facts, facts.methods[0], facts.parameters)[1]
        history = pd.read_csv(tmp_path / "ratios_history.csv")
        last = history[(history.seed == 1) & (history.epoch == 6)].set_index(["source", "target"])["lambda"]
        there, back = last["DS", "HV"], last["HV", "DS"]
        assert path.shape == (7, 2)
        assert path[-1, 0] == pytest.approx((there + back) / 2 if "|" in axis else there)

    def test_no_path_on_an_axis_that_is_no_lambda(self, tmp_path: Path) -> None:
        write_folder(tmp_path, axes=["a", "b", "depth"])
        found = search_landscape(report_facts(tmp_path))
        assert found.trajectories == ()
        assert "where λ went by itself" not in Page(write_report(tmp_path)).text

    @pytest.mark.parametrize(
        ("axes", "figures"),
        [
            (["all"], {"landscape"}),
            (["a", "b"], {"landscape", "slices"}),
            (["a", "b", "c"], {"landscape", "slices"}),
            (list("abcdef"), {"slices"}),
            (list("abcdefg"), set()),
        ],
    )
    def test_figures_by_the_number_of_axes(self, tmp_path: Path, axes: list[str], figures: set[str]) -> None:
        write_folder(tmp_path, list("abcdefg"), seeds=(0,), axes=axes, methods=tuple(TITLES))
        page = Page(write_report(tmp_path))
        assert {"landscape", "slices"} & set(page.figures) == figures

    def test_lambda_of_one_sum_have_a_dimension_less(self, tmp_path: Path) -> None:
        rows = [("grid", s, i, a, b, 1 - a - b, 0.9 - a * b, 1.0) for s in (0, 1) for i, (a, b) in enumerate(SHARES)]
        found = search_landscape(self.trials(tmp_path / "three", ["a", "b", "c"], rows))
        assert found.params == ("a", "b")
        assert "λ c is not drawn" in Page(write_report(tmp_path / "three")).text
        rows = [("grid", 0, i, a, 1 - a, 0.9 - a, 1.0) for i, a in enumerate((0.0, 0.5, 1.0))]
        facts = self.trials(tmp_path / "two", ["a", "b"], rows, labels=("a", "b"))
        assert search_landscape(facts) is None
        traces = {trace.name: trace for trace in next(search_figures(facts)).figure.data}
        np.testing.assert_array_equal(traces["grid"].x, [0.0, 0.5, 1.0])
        ends = [path[-1, 0] for path in learned_paths(facts, facts.methods[0], ["a"])]
        np.testing.assert_allclose(traces["learned"].x[::3], ends)

    def test_a_method_of_several_trainings_has_no_curve_over_seconds(self, tmp_path: Path) -> None:
        results = write_folder(tmp_path)
        results["methods"][1]["training_runs"] = 8
        tables = {figure.id: figure.table for figure in validation(report_facts(change(tmp_path, results)))}
        assert "λ = 1" in set(tables["validation-epoch"]["method"])
        assert "λ = 1" not in set(tables["validation-seconds"]["method"])

    def test_four_searches_and_eight_curves_can_be_told_apart(self, tmp_path: Path) -> None:
        write_folder(tmp_path, ("a", "b"), methods=tuple(TITLES))
        facts = report_facts(tmp_path)
        keys = {t.name: t.marker.symbol for t in next(search_figures(facts)).figure.data if t.showlegend}
        assert len({keys[name] for name in ("grid", "TPE", "GP", "random")}) == 4
        lines = [t.line for t in list(validation(facts))[1].figure.data if t.line.dash]
        assert len({(line.color, line.dash) for line in lines}) == len(lines) == 8

    def test_trials_of_one_lambda(self) -> None:
        rows = [("grid", 0, 0, 0.0, 1.0, 5.0), ("grid", 0, 1, 1.0, 3.0, 5.0), ("grid", 1, 0, 0.0, 10.0, 7.0)]
        rows += [("grid", 1, 1, 1.0, 14.0, 7.0), ("tpe", 1, 0, 0.5, 11.0, 1.0)]
        trials = pd.DataFrame(rows, columns=["method", "seed", "trial", "all", "selection", "wall_s"])
        found = over_one_lambda(trials, "all")
        assert list(found["kind"]) == ["TPE", "grid", "grid"]
        np.testing.assert_allclose(found["mean"], [6, 5.5, 8.5])
        np.testing.assert_allclose(found["seconds"], [1, 6, 6])
        assert list(found["n"]) == [1, 2, 2]

    @pytest.mark.parametrize("metric", [ACCURACY, RMSE])
    def test_the_star_over_one_lambda_is_the_best(self, tmp_path: Path, metric: dict[str, Any]) -> None:
        rows = [("grid", 0, 0, 0.0, 0.7, 1.0), ("grid", 0, 1, 1.0, 0.9, 1.0)]
        facts = self.trials(tmp_path, ["all"], rows, metric=metric)
        star = next(
            trace for trace in Page(write_report(facts)).figures["landscape"]["data"] if "best of" in trace["name"]
        )
        assert star["x"] == [1.0 if metric["higher_is_better"] else 0.0]

    @pytest.mark.parametrize("axes", [["all"], ["a", "b"]])
    def test_trainings_that_diverged(self, tmp_path: Path, axes: list[str]) -> None:
        write_folder(tmp_path, axes=axes)
        trials = pd.read_csv(tmp_path / "trials.csv")
        trials.loc[trials["method"] == "tpe", "selection"] = np.nan
        trials.to_csv(tmp_path / "trials.csv", index=False)
        page = Page(write_report(tmp_path))
        assert "landscape" in page.figures
        names = [trace.get("name") for trace in page.figures["validation-seconds"]["data"]]
        assert "grid, best so far" in names
        assert "TPE, best so far" not in names


class TestPage:
    def test_contains_the_numbers_of_results_json(self, tmp_path: Path) -> None:
        results = write_folder(tmp_path, tasks=("A", "B"))
        page = Page(write_report(tmp_path))
        for method in results["methods"]:
            assert method["title"] in page.text
            for values in method["test"].values():
                assert f"{np.mean(values):.4f} ± {np.std(values, ddof=1):.4f}" in page.text
        for text in ("torch 2.13.0", results["command"], "Comparison: 2 tasks, 5 methods, 3 seeds"):
            assert text in page.text

    def test_speaks_of_nothing_that_the_record_does_not_name(self, tmp_path: Path) -> None:
        for name, folder in (("vector", {}), ("matrix", MATRIX | {"metric": ACCURACY})):
            write_folder(tmp_path / name, **folder)
            words = Page(write_report(tmp_path / name)).text
            assert not re.search("molecul|RMSE|GATE|transfer|direct path|standardised|scaffold", words, re.IGNORECASE)

    def test_one_task_is_not_shown_task_by_task(self, tmp_path: Path) -> None:
        write_folder(tmp_path)
        page = Page(write_report(tmp_path))
        assert "task-differences" not in page.figures
        assert "ask by task" not in page.text
        assert "tasks better" not in page.text
        assert "mean test" not in page.text

    def test_needs_nothing_from_outside(self, tmp_path: Path) -> None:
        write_folder(tmp_path)
        page = Page(write_report(tmp_path))
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

    def test_links_lead_somewhere_and_figures_have_captions(self, tmp_path: Path) -> None:
        write_folder(tmp_path, tasks=("A", "B"))
        page = Page(write_report(tmp_path))
        ids = [a["id"] for _, a in page.elements if "id" in a]
        assert len(set(ids)) == len(ids)
        links = [(a["href"] or "").removeprefix("#") for tag, a in page.elements if tag == "a"]
        assert links == ["methods", "lambda", "search", "training", "tasks", "repeat-it"]
        assert set(links) < set(ids)
        places = {a["data-figure"]: a for _, a in page.elements if "data-figure" in a}
        assert set(places) == set(page.figures)
        assert all(a["role"] == "img" and a["aria-labelledby"] in ids for a in places.values())

    @pytest.mark.parametrize("matrix", [False, True])
    def test_hostile_names_stay_text(self, tmp_path: Path, matrix: bool) -> None:
        metric = {"name": "<i>m</i>&amp;", "higher_is_better": False, "unit": "<u>", "note": "<b>note</b>"}
        axes = None if not matrix else [f"{HOSTILE[0]}|{HOSTILE[1]}", f"{HOSTILE[1]}|{HOSTILE[2]}"]
        results = write_folder(tmp_path, HOSTILE, tasks=HOSTILE, metric=metric, axes=axes, matrix=matrix)
        results["methods"][0]["title"] = "<script>t</script>"
        raw = (path := write_report(change(tmp_path, results))).read_text(encoding="utf-8")
        page = Page(path)
        assert len(page.scripts) == 3
        assert not [tag for tag, _ in page.elements if tag in ("img", "i", "b", "u")]
        assert not [a for _, attributes in page.elements for a in attributes if a.startswith("on")]
        for name in (*HOSTILE, "<script>t</script>", "<i>m</i>&amp;", "<b>note</b>"):
            assert name in page.text
        data = raw[raw.index('id="figures">') :].split("</script>")[0]
        assert not set("<>&") & set(data[len('id="figures">') :])
        # In plotly's texts the names are escaped once: what it draws is the name itself.
        ticks = page.figures["task-differences"]["layout"]["yaxis"]["ticktext"]
        shown = [html.unescape(tick) for tick in ticks]
        assert sorted(name[0] + name[-1] for name in shown) == sorted(name[0] + name[-1] for name in HOSTILE)
        assert not any("<" in tick for tick in ticks)

    def test_labels_called_na_or_1(self, tmp_path: Path) -> None:
        write_folder(tmp_path, ("NA", "1", "nan"), tasks=("NA", "1", "nan"))
        page = Page(write_report(tmp_path))
        assert sorted(page.figures["lambda-learned"]["layout"]["yaxis"]["ticktext"]) == ["1", "NA", "nan"]
        assert {"landscape", "task-differences"} < set(page.figures)

    def test_methods_whose_names_no_id_may_have(self, tmp_path: Path) -> None:
        results = write_folder(tmp_path)
        results["methods"][0]["name"] = 'my "best" one'
        frame = pd.read_csv(tmp_path / "weights_history.csv").assign(method='my "best" one')
        frame.to_csv(tmp_path / "weights_history.csv", index=False)
        page = Page(write_report(change(tmp_path, results)))
        assert {"lambda-method-0", "trajectory-method-0"} < set(page.figures)

    def test_a_leaderboard(self, tmp_path: Path) -> None:
        tasks = [f"T{i:02d}" for i in range(32)]
        results = write_folder(
            tmp_path, (), methods=("lambda=1", "lambda=0"), tasks=tasks, metric=RMSE, kind="leaderboard"
        )
        first = results["methods"][0]
        for number in range(28):
            worse = {task: [score * (1 + 0.01 * number) for score in each] for task, each in first["test"].items()}
            more = {"name": f"m{number}", "title": f"method {number}", "group": "outside", "test": worse}
            results["methods"].append({k: v for k, v in (first | more).items() if k != "lambda"})
        page = Page(write_report(change(tmp_path, results)))
        assert set(page.figures) == {"differences", "task-differences"}
        assert page.text.startswith("Leaderboard: 32 tasks, 30 methods, 3 seeds", page.text.index("Leaderboard"))
        assert "Against the 21 others" in page.text
        traces = page.figures["task-differences"]["data"]
        assert [trace["visible"] for trace in traces].count("legendonly") == 29 - 8

    def test_a_single_training(self, tmp_path: Path) -> None:
        write_folder(tmp_path, methods=("learned",), seeds=(4,), kind="training")
        page = Page(write_report(tmp_path))
        assert "One training: 1 seed" in page.text
        assert not {"landscape", "differences"} & set(page.figures)

    def test_epochs_without_a_score(self, tmp_path: Path) -> None:
        write_folder(tmp_path)
        history = pd.read_csv(tmp_path / "history.csv").assign(selection="")
        history.to_csv(tmp_path / "history.csv", index=False)
        assert "validation-epoch" not in Page(write_report(tmp_path)).figures

    def test_written_twice_is_the_same(self, tmp_path: Path) -> None:
        write_folder(tmp_path)
        before = write_report(tmp_path).read_bytes()
        assert write_report(str(tmp_path)).read_bytes() == before

    def test_sections_of_an_adapter(self, tmp_path: Path) -> None:
        write_folder(tmp_path)
        facts = report_facts(tmp_path)
        old = next(validation(facts))
        figure = PageFigure("mine", "Mine", "It <b>shows</b> it.", old.figure, old.table, 200)
        added = (
            Section("", ("12 rows",), after="header"),
            Section("My part", ("A paragraph.", Gallery((figure,))), after="methods"),
        )
        page = Page(write_report(facts, added))
        assert "3 seeds, 12 rows" in page.text
        assert "It <b>shows</b> it." in page.text
        order = [a["id"] for tag, a in page.elements if tag == "h2"]
        assert order[:3] == ["methods", "my-part", "lambda"]
        assert "mine" in page.figures
        with pytest.raises(ValueError, match="'mine'"):
            write_report(facts, (*added, *added))


class TestDamage:
    @pytest.mark.parametrize("name", ["results.json", "history.csv", "weights_history.csv", "trials.csv"])
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
        write_folder(tmp_path, seeds=(0,))
        damage(tmp_path / name)
        with pytest.raises(ReportError, match=re.escape(name)):
            write_report(tmp_path)
        assert not (tmp_path / "report.html").exists()

    def test_a_matrix_needs_its_history(self, tmp_path: Path) -> None:
        write_folder(tmp_path, **MATRIX)
        (tmp_path / "ratios_history.csv").unlink()
        with pytest.raises(ReportError, match=r"ratios_history\.csv is missing"):
            write_report(tmp_path)

    def test_names_line_and_column(self, tmp_path: Path) -> None:
        write_folder(tmp_path)
        path = tmp_path / "history.csv"
        frame = pd.read_csv(path, dtype=str)
        frame.loc[3, "selection"] = "abc"
        frame.to_csv(path, index=False)
        with pytest.raises(ReportError, match=r"history\.csv, line 5, column 'selection': must be a number; got 'abc'"):
            report_facts(tmp_path)

    @pytest.mark.parametrize(
        ("change_it", "message"),
        [
            (lambda r: r.pop("methods"), "lacks 'methods'"),
            (lambda r: r.pop("metric"), "lacks 'metric'"),
            (lambda r: r["metric"].pop("higher_is_better"), "metric lacks 'higher_is_better'"),
            (
                lambda r: r["metric"].update(higher_is_better="yes"),
                "'higher_is_better' must be of type bool; got 'yes'",
            ),
            (lambda r: r.update(methods=[]), "methods must have at least one entry"),
            (lambda r: r.update(tasks=["A", "A"]), "at least one name, each once"),
            (lambda r: r.update(control="none"), "control must be one of the methods .*; got 'none'"),
            (lambda r: r.update(control=1), "control must be a string; got 1"),
            (lambda r: r.update(split=3), "split must be an object; got 3"),
            (lambda r: r.update(split={"test_share": -1}), "test_share must be a number of at least 0; got -1"),
            (lambda r: r.update(split={"test": "all", "train": 3}), "test must be a number .*; got 'all'"),
            (lambda r: r["methods"][1].pop("wall_s"), r"methods\[1\] lacks 'wall_s'"),
            (lambda r: r["methods"][1].update(name="learned"), "methods must have different names"),
            (lambda r: r["methods"][0].update(seeds=[]), "at least one seed"),
            (lambda r: r["methods"][0].update(seeds=[0, 0, 1]), "seeds must be different whole numbers"),
            (lambda r: r["methods"][0]["test"].pop("accuracy"), r"'learned', test lacks the tasks \['accuracy'\]"),
            (lambda r: r["methods"][0]["test"].update(accuracy=[1.0]), r"must have shape \(3,\); got \(1,\)"),
            (
                lambda r: [m["test"].update(accuracy=[None] * 3) for m in r["methods"]],
                "at least one method must have a score",
            ),
            (
                lambda r: r["methods"][0]["lambda"].update(per_seed=[[1.0]]),
                r"per_seed must have shape \(3, 3\); got \(1, 1\)",
            ),
            (lambda r: r["methods"][0]["lambda"].update(labels=["a", "b", "a"]), r"names \['a'\] more than once"),
            (
                lambda r: r["methods"][0].update({"lambda": {"values": 1}}),
                "labels must be a list of names .*; got None",
            ),
            (lambda r: r["methods"][0].update({"lambda": [1.0]}), "must be an object or null"),
            (lambda r: r["search"].update(parameters=["a", "b", "X"]), "lacks the columns"),
            (lambda r: r["search"].update(parameters=[]), "search must be an object with a list of parameters"),
        ],
    )
    def test_results_that_lack_something(
        self, tmp_path: Path, change_it: Callable[[dict[str, Any]], object], message: str
    ) -> None:
        results = write_folder(tmp_path)
        change_it(results)
        with pytest.raises(ReportError, match=message):
            write_report(change(tmp_path, results))

    def test_a_folder_of_an_older_version_is_named(self, tmp_path: Path) -> None:
        results = write_folder(tmp_path)
        for method in results["methods"]:
            method["test_rmse"] = method.pop("test")
        del results["metric"]
        with pytest.raises(
            ReportError, match=r"written by bilevel-hpo 0\.1\.0 in a format that is no longer read"
        ) as e:
            write_report(change(tmp_path, results))
        assert "run it again into a new folder: python compare.py" in str(e.value)

    def test_nothing_but_failures(self, tmp_path: Path) -> None:
        results = write_folder(tmp_path, methods=("lambda=1",))
        results["methods"][0] |= {"seeds": [], "test": {}, "failures": ["seed 0: diverged"]}
        with pytest.raises(ReportError, match="every method failed, the first with: seed 0: diverged"):
            write_report(change(tmp_path, results))
