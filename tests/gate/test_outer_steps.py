"""What a training keeps of its outer steps, and what the report says of them."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import gate_cases
import pandas as pd
import pytest
import torch
from run_folder import verdict, write_run

from bilevel_hpo import BilevelLearner, Box, Budget, Constraint, Direct, Hypergradient, OneStep, TransferRatios
from bilevel_hpo.run_folder import write_json
from bilevel_hpo.signal import MIN_STEPS, signal
from gate_model.data.prepared import PreparedData
from gate_model.experiments.outcome import outcome
from gate_model.losses import DirectPathLoss, PathLoss, TrainLoss
from gate_model.methods import LEARNED
from gate_model.outer_steps import COLUMNS, Verdict, rows_of, verdict_of
from gate_model.report import ReportError, report_facts, write_report
from gate_model.report._signal_words import precision_words, signal_words
from gate_model.training import Settings, train

T = 3


def trained(steps: int, constraint: Constraint, estimator: Hypergradient) -> BilevelLearner:
    model = gate_cases.gate(T)
    learner = BilevelLearner(
        model,
        torch.optim.AdamW(model.parameters(), lr=1e-3),
        TransferRatios(["a", "b", "c"], constraint=constraint).double(),
        train_loss=TrainLoss(),
        val_loss=DirectPathLoss() if isinstance(estimator, OneStep) else PathLoss(),
        hypergradient=estimator,
    )
    for step in range(steps):
        learner.step(gate_cases.batch(T, seed=step), gate_cases.batch(T, seed=100 + step))
    return learner


class TestRecord:
    def test_rows_are_those_of_the_history_and_numbers_that_are_not_finite_are_none(self) -> None:
        learner = trained(3, Budget(1.0), OneStep())
        rows = rows_of(learner)
        assert [row["outer_step"] for row in rows] == [1, 2, 3]
        assert {"certificate", "computed_in", "certified"} <= set(rows[0]) == set(COLUMNS)
        assert [row["certificate"] for row in rows] == learner.history["certificate"].tolist()
        assert [row["certificate"] for row in rows_of(trained(2, Box(0, 1), Direct()))] == [None, None]
        assert rows_of(trained(0, Budget(1.0), OneStep())) == []

    def test_a_verdict_is_that_of_signal(self) -> None:
        learner = trained(MIN_STEPS, Budget(1.0), OneStep())
        assert isinstance(learner.weights, TransferRatios)
        said, found = signal(learner.history, learner.weights), verdict_of(learner)
        assert found is not None
        assert (found.told, found.tested, found.p, found.steps) == (said.told, 9, said.p, MIN_STEPS)
        assert sorted(found.more + found.less) == sorted(said.labels)
        assert all(said.table.loc[label, "mean"] < 0 for label in found.more)
        assert found.text == str(said)

    def test_too_few_steps_and_a_lambda_without_a_budget_have_none(self) -> None:
        assert verdict_of(trained(MIN_STEPS - 1, Budget(1.0), OneStep())) is None
        assert verdict_of(trained(MIN_STEPS, Box(0, 1), OneStep())) is None
        assert verdict_of(trained(0, Budget(1.0), OneStep())) is None

    def test_a_training_keeps_both_and_they_are_json(self, small_data: PreparedData, tmp_path: Path) -> None:
        kept = train(small_data, replace(LEARNED["budget"], warm_up=0.0), Settings(epochs=MIN_STEPS), seed=0)
        assert len(kept.outer_steps) == MIN_STEPS
        assert kept.verdict is not None
        found = outcome(small_data, LEARNED["budget"], kept, seed=0)
        write_json(tmp_path / "job.json", asdict(found))
        read = json.loads((tmp_path / "job.json").read_text())
        assert read["outer_steps"] == kept.outer_steps
        assert Verdict(**read["signal"]) == kept.verdict


class TestReport:
    def test_several_seeds_in_words(self, tmp_path: Path) -> None:
        write_run(tmp_path, epochs=2, molecules=2)
        facts = report_facts(tmp_path)
        budget, direct = facts.methods[:2]
        (words,) = signal_words(facts, budget)
        assert words == (
            "Is there anything to learn? 0, 0 and 1 of 9 λ, direct paths included, can be told from chance (seeds 0, 1 "
            "and 2), in 10 outer steps each, at a level of 5 % for all of them; all λ together: p 0.4, 0.4 and 0.01. "
            "Told from chance: HV → DS (more, 1 of 3)."
        )
        assert next(signal_words(facts, direct)).startswith("Is there anything to learn, learned λ (one-step")
        assert list(precision_words(facts, budget)) == [
            "In 3 of 30 outer steps the hypergradient was computed again in float64, and in 0 its rounding could not "
            "be certified."
        ]

    def test_the_same_count_in_every_seed_is_said_once(self, tmp_path: Path) -> None:
        write_run(tmp_path, seeds=(0, 1), methods=("budget",), epochs=2, molecules=2)
        facts = report_facts(tmp_path)
        (words,) = signal_words(facts, facts.methods[0])
        assert "0 of 9 λ, direct paths included, can be told from chance (each of seeds 0 and 1), in 10" in words

    @pytest.mark.parametrize("tasks", [3, 13], ids=["beside one another", "wide"])
    def test_the_page_says_it_once_under_the_map(self, tmp_path: Path, tasks: int) -> None:
        write_run(tmp_path, [f"T{i:02d}" for i in range(tasks)], epochs=2, molecules=2, shared=True)
        page = write_report(tmp_path).read_text(encoding="utf-8")
        assert page.count("Is there anything to learn?") == 1
        assert page.index('data-figure="heatmap-budget"') < page.index("Is there anything") < page.index("float64, and")

    @pytest.mark.parametrize(
        ("change", "end"),
        [
            ({"effective_steps": 9.5}, "constant λ, or a search over a few, would do as well."),
            ({"p": 0.02}, "There is something to learn, but these outer steps do not say from which λ."),
            ({"told": 1, "less": ["DS->DS"]}, "Told from chance: direct path of DS (less)."),
        ],
    )
    def test_one_seed_in_words(self, tmp_path: Path, change: dict[str, Any], end: str) -> None:
        results = write_run(tmp_path, seeds=(0,), methods=("budget",), epochs=2, molecules=2)
        results["methods"][0]["signal"] = [verdict(0) | change]
        (tmp_path / "results.json").write_text(json.dumps(results))
        facts = report_facts(tmp_path)
        (words,) = signal_words(facts, facts.methods[0])
        assert f"{change.get('told', 0)} of 9 λ, direct paths included, can be told from chance, in 10 outer" in words
        assert words.endswith(end)

    def test_what_could_not_be_certified_is_counted(self, tmp_path: Path) -> None:
        write_run(tmp_path, seeds=(0,), methods=("budget",), epochs=2, molecules=2)
        path = tmp_path / "outer_steps.csv"
        frame = pd.read_csv(path)
        frame.loc[[2, 5], "certified"] = False
        frame.to_csv(path, index=False)
        facts = report_facts(tmp_path)
        (words,) = precision_words(facts, facts.methods[0])
        assert words.endswith("in 2 its rounding could not be certified.")

    def test_folders_from_before_open_and_say_nothing(self, tmp_path: Path) -> None:
        results = write_run(tmp_path, epochs=2, molecules=2)
        del results["methods"][0]["signal"]
        (tmp_path / "results.json").write_text(json.dumps(results))
        (tmp_path / "outer_steps.csv").unlink()
        page = write_report(tmp_path).read_text(encoding="utf-8")
        assert "Is there anything to learn" not in page
        assert "computed again in float64" not in page

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda s: s.pop(), "a list of 3 objects or nulls is wanted"),
            (lambda s: s.__setitem__(0, 1.0), "a list of 3 objects or nulls is wanted"),
            (lambda s: s[0].pop("p"), "signal lacks 'p'"),
            (lambda s: s[0].update(told="two"), "'told' is 'two'; a int is wanted"),
            (lambda s: s[0].update(more=[1]), "labels are wanted"),
        ],
    )
    def test_damage_is_named(self, tmp_path: Path, change: Any, message: str) -> None:
        results = write_run(tmp_path, epochs=1, molecules=2)
        change(results["methods"][0]["signal"])
        (tmp_path / "results.json").write_text(json.dumps(results))
        with pytest.raises(ReportError, match=message):
            report_facts(tmp_path)

    def test_a_damaged_table_is_named(self, tmp_path: Path) -> None:
        write_run(tmp_path, epochs=1, molecules=2)
        (tmp_path / "outer_steps.csv").write_text("method,seed\n")
        with pytest.raises(ReportError, match=r"outer_steps\.csv lacks the columns"):
            report_facts(tmp_path)
