"""The paper's tables, Figure 3 and Discussion, repeated: numbers worked by hand, bad input, and a whole small run."""

import importlib.util
from itertools import combinations
from pathlib import Path

import discussion as discussion_script
import figure_3 as figure_3_script
import numpy as np
import pandas as pd
import pytest
import table_1 as table_1_script
import table_2 as table_2_script
import torch
from paper_studies.analysis import check_folder
from paper_studies.benchmark_run import BenchmarkRun
from paper_studies.repeated.compared import compared
from paper_studies.repeated.discussion import discussion
from paper_studies.repeated.figure_3 import figure_3
from paper_studies.repeated.published import AVERAGE, IMPROVED, published
from paper_studies.repeated.table_1 import table_1
from paper_studies.repeated.table_2 import table_2
from scipy import stats

from bilevel_hpo.comparison import read_trained, run_methods
from bilevel_hpo.run_folder import RunError
from gate_model.data.prepared import PreparedData, prepare
from gate_model.data.tasks import CATALOGUE
from gate_model.experiments.leaderboard.table import entries_of, methods_of
from gate_model.experiments.leaderboard.trainings import BenchmarkTrainings
from gate_model.experiments.record import setting_of
from gate_model.model.settings import NetworkSettings
from gate_model.training.settings import Settings
from tests.examples.paper.finished_benchmark import TASKS, failed, finish, result, write_benchmark
from tests.examples.paper.script import script

SMALL = NetworkSettings(embedding_hidden=32, d=16, k=8, hidden=16)
NEEDED = ("lambda=1-plain", "direct", "lambda=0-plain", "budget", "lambda=0")
TEST = {
    "lambda=1-plain": ([0.4, 0.5, 1.0], [0.6, 0.5, 1.0]),
    "direct": ([0.2, 0.5, 1.1], [0.4, 0.7, 1.1]),
    "budget": ([0.5, 0.5, 0.8], [0.5, 0.4, 0.8]),
    "lambda=0": ([0.5, 0.5, 1.0], [0.5, 0.5, 0.9]),
    "lambda=0-plain": ([0.6, 0.6, 1.2], [0.6, 0.6, 1.0]),
    "lambda=1-sum": ([0.8, 1.0, 2.0], [1.2, 1.0, 2.0]),
    "direct-sum": ([0.6, 1.0, 2.0], [0.9, 1.0, 2.0]),
}


def by_hand(folder: Path, *methods: str) -> Path:
    return write_benchmark(folder, [result(m, s, TEST[m][s]) for m in methods for s in (0, 1)])


# What the paper prints


def test_table_1_is_read_as_the_paper_sums_it_up() -> None:
    paper = published()
    assert set(paper.index) == set(CATALOGUE)
    assert len(paper) == 40
    assert (paper["gate_star"] < paper["gate"]).sum() == IMPROVED
    assert (paper["gate_star"] / paper["gate"]).median() == pytest.approx(AVERAGE, abs=5e-4)
    assert paper.loc["BP", ["gate", "gate_star"]].tolist() == [0.520, 0.508]
    assert (paper["note"] != "").sum() == 1 + 10, "CPL, and the row with a name too few"


# Table 1


def test_table_1_by_hand(tmp_path: Path) -> None:
    found = table_1(by_hand(tmp_path, *NEEDED))
    frame = found.tables["table_1"].set_index("task")
    assert frame["lambda=1-plain"].tolist() == pytest.approx([0.5, 0.5, 1.0])
    assert frame["direct std"].tolist() == pytest.approx([np.std([0.2, 0.4], ddof=1), np.std([0.5, 0.7], ddof=1), 0])
    assert frame.loc["HV", ["gate", "gate_star", "note"]].tolist() == [0.478, 0.431, ""]
    assert frame.loc["mine", ["gate", "gate_star"]].isna().all()
    assert "lambda=1-sum" not in frame, "this run has none"
    row = next(line for line in found.findings.splitlines() if line.startswith("| DS |")).split(" | ")
    assert row[2] == "**0.3000 ± 0.1414**"
    assert row[1] == "0.5000 ± 0.1414"
    assert row[6:] == ["**0.754**?", "0.807? |"]
    assert "`lambda=1-plain` 0.6667 ± 0.0471" in found.findings, "means over tasks are 0.6333 and 0.7"
    assert (
        "Best of a task: `lambda=1-plain` in 0, `direct` in 1, `lambda=0-plain` in 0, `budget` in 2, " in found.findings
    )
    assert "GATE* is below GATE in 1 of these tasks. `direct` is below `lambda=1-plain` in 1, 0 of them the same" in (
        found.findings
    )
    assert "direct-sum" not in found.findings
    assert "rank correlation" not in found.findings, "two tasks are too few"
    assert len(found.figures["table_1"].data) == 5 + 2


def test_a_single_seed_and_foreign_tasks(tmp_path: Path) -> None:
    run = write_benchmark(tmp_path, [result(m, 3, TEST[m][0]) for m in NEEDED], ["a", "b", "c"])
    found = table_1(run)
    assert found.tables["table_1"]["direct std"].isna().all()
    assert "No task carries an abbreviation" in found.findings
    assert "| a | 0.4000 | **0.2000** | 0.6000 | 0.5000 | 0.5000 |  |  |" in found.findings
    assert len(found.figures["table_1"].data) == 5
    assert table_2(run).tables["table_2"]["data"].tolist() == ["paper, its 40 tasks"] + 9 * ["this run"]
    assert "Narrower over the seeds" not in figure_3(run).findings


# Table 2


def test_table_2_by_hand(tmp_path: Path) -> None:
    found = table_2(by_hand(tmp_path, *TEST))
    rows = found.tables["table_2"].set_index(["data", "method", "against"])
    direct = rows.loc[("this run", "direct", "lambda=1-plain")]
    ratios = np.array([[0.5, 1.0, 1.1], [2 / 3, 1.4, 1.1]])
    assert (direct["improved"], direct["tasks"]) == (1, 3)
    assert direct["mean_ratio"] == pytest.approx(ratios.mean())
    assert direct["std"] == pytest.approx(ratios.mean(1).std(ddof=1))
    assert direct["ratio_of_means"] == pytest.approx(4.0 / 4.0)
    assert direct["median_ratio"] == pytest.approx(1.1), "of 0.6, 1.2 and 1.1"
    assert direct["p"] == pytest.approx(stats.wilcoxon(np.log(ratios).mean(0)).pvalue)
    assert rows.loc[("this run", "lambda=1-plain", "lambda=1-sum"), "mean_ratio"] == pytest.approx(0.5)
    assert rows.loc[("this run", "lambda=1-plain", "lambda=1-sum"), "improved"] == 3
    constant = {index[1:] for index in rows.index if index[0] == "this run" and index[1].startswith("lambda")}
    order = ("lambda=1-sum", "lambda=1-plain", "lambda=0-plain", "lambda=0")
    assert constant == {(own, against) for against, own in combinations(order, 2)}, "one direction of each"
    paper = rows.loc[("paper, its 40 tasks", "GATE*", "GATE")]
    assert (paper["improved"], paper["tasks"]) == (31, 40)
    assert np.isnan(paper["std"])
    shared = rows.loc[("paper, tasks of both", "GATE*", "GATE")]
    assert shared["mean_ratio"] == pytest.approx((0.807 / 0.754 + 0.431 / 0.478) / 2)
    assert rows.loc[("this run, tasks of both", "direct", "lambda=1-plain"), "mean_ratio"] == pytest.approx(
        ratios[:, :2].mean()
    )
    by_task = found.tables["improvements"].set_index(["task", "method", "against"])
    assert by_task.loc[("DS", "direct", "lambda=1-plain"), "improvement"] == pytest.approx(0.4)
    assert by_task.loc[("HV", "direct", "lambda=1-plain"), "paper"] == pytest.approx(1 - 0.431 / 0.478)
    assert "Against `lambda=1-sum`: `direct-sum` improves 1 of 3 tasks, ratio of the means 93.8 %" in found.findings
    drawn = found.figures["table_2"].data
    assert len([trace for trace in drawn if trace.name == "paper: GATE* on GATE"]) == 2, "not against λ = 0"
    bars = [trace for trace in drawn if trace.type == "bar"]
    assert len(bars) == 3 * 4
    assert list(bars[0].x) == ["DS", "mine", "HV"], "what `direct` improves most comes first"
    assert list(bars[4].y) == pytest.approx([40, -10, -20]), "direct, against lambda=1-plain"


def test_the_papers_own_numbers_go_with_the_papers(tmp_path: Path) -> None:
    paper = published().head(12)
    numbers = {"lambda=1-plain": paper["gate"], "direct": paper["gate_star"], "lambda=0-plain": paper["gate"] ** 1.1}
    numbers |= {"budget": paper["gate"] ** 2 / paper["gate_star"], "lambda=0": paper["gate"]}
    run = write_benchmark(tmp_path, [result(m, 0, list(test)) for m, test in numbers.items()], list(paper.index))
    assert "rank correlation of GATE's RMSE with that of `lambda=1-plain` +1.00" in table_1(run).findings
    said = table_2(run).findings
    assert "over 12 tasks: `direct` on `lambda=1-plain` +1.00, `budget` on `lambda=1-plain` -1.00" in said


# Figure 3


def test_epochs_to_reach_and_spreads_by_hand(tmp_path: Path) -> None:
    curves = {
        "lambda=1-plain": [0.8, 0.5, 0.45, 0.5],
        "direct": [0.5, 0.4, 0.4, 0.4],
        "lambda=0-plain": [0.9, 0.8, 0.7, 0.5],
        "budget": [0.8, 0.6, 0.5, 0.3],
        "lambda=0": [0.9, 0.8, 0.7, 0.6],
    }
    results = [
        result(method, seed, [0.1, 0.2, 0.3], (1 + seed) * np.array(curve))
        for method, curve in curves.items()
        for seed in (0, 1)
    ]
    found = figure_3(write_benchmark(tmp_path, results))
    reached = found.tables["epochs_to_reach"].set_index(["method", "seed"])
    assert set(reached["base"]) == {"lambda=1-plain"}
    assert reached.loc["lambda=1-plain", "epoch"].tolist() == [2, 2], "as good as at the end, before the end"
    assert reached.loc["direct", "share"].tolist() == [0.25, 0.25]
    assert reached.loc["budget", "share"].tolist() == [0.75, 0.75]
    assert reached.loc["lambda=0", "epoch"].isna().all()
    assert "`direct` 25 % ± 0 %; `lambda=0-plain` 100 % ± 0 %; `budget` 75 % ± 0 %; `lambda=0` never" in found.findings
    assert (
        "(at most 60 % of the epochs of `lambda=1-plain`, and reached in every seed): `direct` met, `budget` not met."
        in found.findings
    )
    spread = found.tables["spread"].set_index("method")
    assert spread.loc["direct", "raw_end"] == pytest.approx(np.std([0.4, 0.8], ddof=1))
    assert spread[["end", "mean"]].to_numpy() == pytest.approx(0, abs=1e-12), "seeds that differ in their level only"
    assert spread["over_tasks"].tolist() == pytest.approx([0.2] * 5), "of 0.2, 0.4 and 0.6"
    level = np.mean([np.mean(curve) for curve in curves.values()])
    shown = found.tables["figure_3"].set_index(["method", "epoch"])
    assert shown.loc[("direct", 2), "mean"] == pytest.approx(0.4 * 1.5), "at the seeds' mean level"
    assert shown.loc[("direct", 2), "raw_std"] == pytest.approx(np.std([0.4, 0.8], ddof=1))
    rows = found.tables["curves"]
    first = rows[(rows["method"] == "budget") & (rows["seed"] == 1)].iloc[0]
    assert first["rmse"] == pytest.approx(1.6)
    assert first["rmse_level"] == pytest.approx(1.6 / (2 * level) * 1.5 * level)


def test_a_goal_is_not_met_if_a_seed_never_gets_there(tmp_path: Path) -> None:
    curves = {(m, s): [0.5, 0.4] for m in (*NEEDED, "lambda=1-sum") for s in (0, 1)}
    curves |= {("direct", 1): [0.35, 0.3], ("lambda=1-sum", 0): [0.7, 0.6], ("direct", 0): [0.6, 0.5]}
    found = figure_3(write_benchmark(tmp_path, [result(m, s, [0.1] * 3, curve) for (m, s), curve in curves.items()]))
    assert "`direct` 50 % in 1 of 2 seeds, never in the others" in found.findings, "as `lambda=1-plain` at the end"
    assert "`lambda=1-plain`, and reached in every seed): `direct` not met, `budget` not met" in found.findings
    reached = found.tables["epochs_to_reach"].set_index(["base", "method", "seed"]).sort_index()
    assert reached.loc[("lambda=1-sum", "direct"), "share"].tolist() == [0.5, 0.5]
    assert reached.loc[("lambda=1-sum", "direct"), "goal"].tolist() == [0.6, 0.4]
    assert "`lambda=1-sum`, and reached in every seed): `direct` met, `budget` not met" in found.findings
    assert len({trace.name for trace in found.figures["figure_3"].data if trace.name}) == 5, (
        "the literal sum is not drawn"
    )
    spread = found.tables["spread"].set_index("method")
    level = np.array([(4 * 0.45 + 0.65 + 0.55) / 6, (5 * 0.45 + 0.325) / 6])
    assert spread.loc["direct", "end"] == pytest.approx(np.std([0.5 / level[0], 0.3 / level[1]], ddof=1))
    assert spread.loc["budget", "end"] == pytest.approx(np.std(0.4 / level, ddof=1))


# Discussion


def path(*of_pairs: list[float]) -> list[list[list[float]]]:
    """λ of two tasks: the two pairs over the epochs; diagonal 1."""
    return [[[1, a], [b, 1]] for a, b in zip(*of_pairs, strict=True)]


def test_quadratic_variations_by_hand(tmp_path: Path) -> None:
    """One λ goes from 1 to 0 at an even speed in four epochs, the other to and fro by half."""
    even, fro = [1, 0.75, 0.5, 0.25, 0], [1, 0.5, 1, 0.5, 1]
    still = [1.0] * 5
    results = [
        result("direct", 0, [0.1, 0.1], [0.1] * 4, path(even, fro)),
        result("free", 0, [0.1, 0.1], [0.1] * 4, path(still, [1, 1.1, 1.1, 1.1, 1.1])),
    ]
    found = discussion(write_benchmark(tmp_path, results, ["A", "B"]))
    pairs = found.tables["pairs"].set_index(["method", "target", "source"])
    assert pairs.loc[("direct", "A", "B"), "quadratic_variation"] == pytest.approx(4 * 0.25**2)
    assert pairs.loc[("direct", "A", "B"), "even"] == pytest.approx(1 / 4), "it cannot be less"
    assert pairs.loc[("direct", "B", "A"), ["quadratic_variation", "distance", "even"]].tolist() == [1, 2, 0]
    table = found.tables["discussion"].set_index("method")
    assert table["under"].tolist() == [0, 1]
    assert table.loc["direct", ["pairs", "max", "start", "end"]].tolist() == [2, 1, 1, 0.5]
    assert table.loc["direct", "q50"] == pytest.approx((0.25 + 1) / 2)
    assert table.loc["direct", "even"] == pytest.approx(0.25 / 1.25)
    assert table.loc["direct", ["top", "alike"]].tolist() == pytest.approx([2 / 3, 1 / 2])
    assert table.loc["free", "top"] == pytest.approx(1)
    assert "in 4 even steps has 1/4 = 0.250" in found.findings


def test_a_lambda_that_never_moved_has_no_shares(tmp_path: Path) -> None:
    run = write_benchmark(tmp_path, [result("free", 0, [0.1, 0.1], [0.1], path([1, 1], [1, 1]))], ["A", "B"])
    table = discussion(run).tables["discussion"]
    assert table.loc[0, "under"] == 1
    assert table.loc[0, ["even", "top"]].isna().all()


# Bad input


def test_a_missing_method_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"lacks direct, lambda=0-plain, lambda=0; this adds it"):
        table_1(by_hand(tmp_path / "a", "lambda=1-plain", "budget"))
    with pytest.raises(RunError, match="lacks direct, direct-sum, budget, free; this adds it"):
        discussion(by_hand(tmp_path / "b", "lambda=1-plain"))


def test_seeds_without_numbers_are_left_out_for_all_and_named(tmp_path: Path) -> None:
    results = [result(m, s, TEST[m][s]) for m in NEEDED for s in (0, 1) if (m, s) != ("direct", 0)]
    found = compared(write_benchmark(tmp_path / "a", [*results, failed("direct", 0)]))
    assert found.seeds == (1,)
    assert found.test("lambda=1-plain").tolist() == [[0.6, 0.5, 1.0]]
    assert "1 seed," in found.about
    assert "Left out for all methods: seed 0, direct: the training diverged in epoch 2." in found.about
    assert "seed 0, direct: it has no result." in compared(write_benchmark(tmp_path / "b", results)).about
    failing = [one for one in results if one.method != "direct"] + [failed("direct", 0), failed("direct", 1)]
    with pytest.raises(RunError, match=r"no seed has numbers of all of .*seed 1, direct: the training diverged"):
        compared(write_benchmark(tmp_path / "c", failing))


def test_one_task_has_no_lambda(tmp_path: Path) -> None:
    run = write_benchmark(tmp_path, [result("free", 0, [0.1], [0.1], [[[1]], [[1]]])], ["A"])
    with pytest.raises(RunError, match="has the task A only"):
        discussion(run)


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"holds no table_1\.csv"):
        check_folder(by_hand(tmp_path / "run", *NEEDED), "table_1")


# A whole run


def test_scripts_read_a_benchmark(small_data: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    real = importlib.util.find_spec  # without kaleido there is no PNG, whatever is installed here
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *of: None if name == "kaleido" else real(name, *of))
    settings = Settings(epochs=2, network=SMALL)
    run, datasets, names = tmp_path / "run", {0: small_data, 1: prepare(small_data.table, seed=1)}, [*NEEDED, "free"]
    methods = methods_of(entries_of(names), datasets)
    run_methods(BenchmarkTrainings(datasets, settings), methods, [0, 1], setting_of(run, ("DS", "HV", "BP"), {}))
    finish(run, names, ("DS", "HV", "BP"), epochs=2)
    for method in names:
        for found in BenchmarkRun(run).results(method):
            path = found.trajectory
            if method.startswith("lambda"):
                assert len(path) == 0, "nothing is learned"
            else:
                assert path.shape == (3, 3, 3)
                off = ~np.eye(3, dtype=bool)
                assert path[0][off] == pytest.approx(0.25 if method == "budget" else 1), "a fifth of the budget, or 1"
                assert path[2] == pytest.approx(found.lambda_[0], abs=1e-4)
    scripts = {each.__name__: each for each in (table_1_script, table_2_script, figure_3_script, discussion_script)}
    files = {
        "table_1": ["table_1.csv"],
        "table_2": ["table_2.csv", "improvements.csv"],
        "figure_3": ["figure_3.csv", "curves.csv", "epochs_to_reach.csv", "spread.csv"],
        "discussion": ["discussion.csv", "pairs.csv"],
    }
    for name, tables in files.items():
        out = tmp_path / name
        for _ in range(2):  # the second time it replaces what is there
            done = script(scripts[name].main, run, "--out", out)
            assert done.exception is None
        page = f"{name}.html"
        assert sorted(file.name for file in out.iterdir()) == sorted([*tables, page, "findings.md"])
        assert "plotly" in (out / page).read_text()
        told = (out / "findings.md").read_text()
        assert "no PNG" in done.stderr
        assert " ".join(told.split())[:200] in " ".join(done.stderr.split())
        assert all(len(pd.read_csv(out / table)) for table in tables)
    tested = pd.read_csv(tmp_path / "table_1" / "table_1.csv").set_index("task")
    stored = [list(read_trained(run / "jobs", "budget", seed).test.values()) for seed in (0, 1)]
    assert tested["budget"].tolist() == pytest.approx(np.mean(stored, axis=0))
    assert len(TASKS) == len(tested)
