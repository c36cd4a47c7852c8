"""The training function of a comparison: it trains GATE."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from bilevel_hpo.comparison import Run, Trained
from gate_model.data.prepared import PreparedData
from gate_model.experiments.record import record_of
from gate_model.training.methods import Method, constant
from gate_model.training.progress import EpochReport
from gate_model.training.settings import Settings
from gate_model.training.train import train, train_population

__all__ = ["Trainings"]


@dataclass(frozen=True)
class Trainings:
    """Trains GATE for each run: by the method that the run names, or with the constant λ that a search proposes.

    Args:
        datasets: prepared data by seed.
        settings: hyperparameters of every training.
        methods: methods by name.
        device: the device on which to train.
    """

    datasets: Mapping[int, PreparedData]
    settings: Settings
    methods: Mapping[str, Method] = field(default_factory=dict)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def __call__(self, run: Run) -> Trained:
        """Train once, and return the record."""

        def report(epoch: EpochReport) -> None:
            run.report(epoch.selection, epoch.epoch)

        data, method = self.datasets[run.seed], self._method(run)
        trained = train(data, method, self.settings, seed=run.seed, device=self.device, progress=report)
        return record_of(data, method, trained, test=run.wants_test)

    def together(self, runs: Sequence[Run]) -> list[Trained]:
        """Train several runs with constant λ together, and return their records."""
        data, methods = self.datasets[runs[0].seed], [self._constant(run) for run in runs]
        found = train_population(data, methods, self.settings, seed=runs[0].seed, device=self.device)
        return [
            record_of(data, method, trained, test=run.wants_test)
            for run, method, trained in zip(runs, methods, found, strict=True)
        ]

    def _method(self, run: Run) -> Method:
        return self.methods.get(run.method) or self._constant(run)

    def _constant(self, run: Run) -> Method:
        lambda_: Any = run.weights().tolist()
        return constant(run.method, "", tuple(tuple(row) for row in lambda_))
