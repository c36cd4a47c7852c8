"""What a training keeps of its outer steps."""

import json
from dataclasses import asdict
from pathlib import Path

import torch

from bilevel_hpo import BilevelLearner, Box, Budget, Constraint, Direct, Hypergradient, OneStep, TransferRatios
from bilevel_hpo.comparison import OUTER_STEP_COLUMNS, outer_steps_of, verdict_of
from bilevel_hpo.run_folder import write_json
from bilevel_hpo.signal import MIN_STEPS, Verdict, signal
from gate_model.data.prepared import PreparedData
from gate_model.experiments.record import record_of
from gate_model.model.losses import DirectPathLoss, PathLoss, TrainLoss
from gate_model.training.methods import LEARNED
from gate_model.training.settings import Settings
from gate_model.training.train import train
from tests.gate_model import gate_cases

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
        rows = outer_steps_of(learner)
        assert [row["outer_step"] for row in rows] == [1, 2, 3]
        assert {"certificate", "computed_in", "certified"} <= set(rows[0]) == set(OUTER_STEP_COLUMNS)
        assert [row["certificate"] for row in rows] == learner.history["certificate"].tolist()
        assert [row["certificate"] for row in outer_steps_of(trained(2, Box(0, 1), Direct()))] == [None, None]
        assert outer_steps_of(trained(0, Budget(1.0), OneStep())) == []

    def test_a_verdict_is_that_of_signal(self) -> None:
        learner = trained(MIN_STEPS, Budget(1.0), OneStep())
        assert isinstance(learner.weights, TransferRatios)
        said, found = signal(learner.history, learner.weights), verdict_of(learner)
        assert found is not None
        assert (found.told, found.tested, found.p, found.steps) == (said.told, 9, said.p, MIN_STEPS)
        assert sorted(found.more + found.less) == sorted(said.labels)
        assert all(said.table.loc[label, "mean"] < 0 for label in found.more)
        assert (found.anything, found.effective_steps) == (said.anything, said.effective_steps)

    def test_too_few_steps_and_a_lambda_without_a_budget_have_none(self) -> None:
        assert verdict_of(trained(MIN_STEPS - 1, Budget(1.0), OneStep())) is None
        assert verdict_of(trained(MIN_STEPS, Box(0, 1), OneStep())) is None
        assert verdict_of(trained(0, Budget(1.0), OneStep())) is None

    def test_a_training_keeps_both_and_they_are_json(self, small_data: PreparedData, tmp_path: Path) -> None:
        kept = train(small_data, LEARNED["budget"].learning_with(warm_up=0.0), Settings(epochs=MIN_STEPS), seed=0)
        assert len(kept.outer_steps) == MIN_STEPS
        assert kept.verdict is not None
        found = record_of(small_data, LEARNED["budget"], kept)
        write_json(tmp_path / "job.json", asdict(found))
        read = json.loads((tmp_path / "job.json").read_text())
        assert read["outer_steps"] == kept.outer_steps
        lists = {key: tuple(value) for key, value in read["signal"].items() if isinstance(value, list)}
        assert Verdict(**read["signal"] | lists) == kept.verdict
