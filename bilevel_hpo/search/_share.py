"""One worker's share of a search: claim what is free, evaluate it, store its value, wait for the others."""

import json
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

import optuna
from optuna.distributions import FloatDistribution
from optuna.pruners import BasePruner, NopPruner
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from bilevel_hpo.search._point import Callback, GivenUpError, Objective, Point, PopulationObjective
from bilevel_hpo.search._storage import Storage, open_storage, patiently
from bilevel_hpo.search._worker import WORKER, Worker, fail

__all__ = ["SECONDS", "SLOT", "Search", "open_study"]

SLOT = "slot"
"""User attribute of a trial: which point of the grid, or the how manyth proposal, it evaluates."""
SECONDS = "seconds"
"""User attribute of a trial that was evaluated together with others: its share of the time."""

_logger = logging.getLogger(__name__)


@dataclass
class Search:
    """What the searches differ in.

    A slot (a point of a grid; the first, second, … proposal) belongs to the trial with the lowest number of those that
    name it and have not failed. Whoever creates another one at the same instant sees that, fails its own and takes the
    next free slot: so every slot is evaluated once, whatever the storage, and without a lock.
    """

    propose: Callable[[int, Sequence[FrozenTrial]], Mapping[str, float]]
    """Slot, all trials so far ↦ λ by name."""
    distributions: Mapping[str, FloatDistribution]
    wanted: Callable[[Sequence[FrozenTrial]], float]
    """All trials so far ↦ slots wanted in all."""
    queue: bool
    """Enqueued λ come before proposals; otherwise they are refused."""

    def run(
        self,
        study: optuna.Study,
        objective: Objective | PopulationObjective,
        *,
        population: int,
        grace: float,
        callbacks: Sequence[Callback],
    ) -> None:
        """Work until every slot has a value, whoever it is from."""
        board, pause = _Board(), 0.05
        with Worker(study, grace) as worker:
            self._worker, self._study = worker, study
            while True:
                trials = worker.call(study.get_trials, deepcopy=False)
                board.update(trials)
                if worker.fail_dead(board.open):
                    continue
                claimed = self._claim_up_to(population, board, trials)
                if claimed:
                    self._evaluate(claimed, objective, population, callbacks)
                    pause = 0.05
                elif any(trial.state is TrialState.RUNNING for trial in board.open):
                    time.sleep(pause)
                    pause = min(1.5 * pause, 2.0)
                elif not board.missing(self.wanted(trials)):
                    return

    def _claim_up_to(self, population: int, board: "_Board", trials: Sequence[FrozenTrial]) -> list[Trial]:
        claimed: list[Trial] = []
        waiting = [trial for trial in board.open if trial.state is TrialState.WAITING]
        if not self.queue:
            for trial in waiting:
                self._refuse(trial)
            waiting = []
        for slot in board.missing(self.wanted(trials), population):
            mine = self._take(waiting.pop(0), slot) if waiting else self._claim(slot, board, trials)
            if mine is not None:
                claimed.append(mine)
        return claimed

    def _claim(self, slot: int, board: "_Board", trials: Sequence[FrozenTrial]) -> Trial | None:
        study, name = self._study, self._worker.name
        template = create_trial(
            state=TrialState.RUNNING,
            params=dict(self.propose(slot, trials)),
            distributions=dict(self.distributions),
            user_attrs={SLOT: slot, WORKER: name},
        )
        call, storage = self._worker.call, study._storage
        call(storage.create_new_trial, study._study_id, template)
        board.update(call(study.get_trials, deepcopy=False))
        rivals = [trial for trial in board.open if trial.user_attrs.get(SLOT) == slot]
        owner = None if slot in board.done or not rivals else rivals[0]
        for trial in rivals:  # several of them are this worker's if the answer to a first attempt was lost
            if trial is not owner and trial.user_attrs[WORKER] == name:
                call(fail, study, trial)
        if owner is None or owner.user_attrs[WORKER] != name:
            return None
        self._worker.hold(owner._trial_id)
        return call(Trial, study, owner._trial_id)

    def _take(self, waiting: FrozenTrial, slot: int) -> Trial | None:
        """An enqueued trial, if no other worker is quicker."""
        call, study = self._worker.call, self._study
        try:
            if not call(study._storage.set_trial_state_values, waiting._trial_id, TrialState.RUNNING):
                return None
            trial = call(Trial, study, waiting._trial_id)
            call(trial.set_user_attr, WORKER, self._worker.name)
            call(trial.set_user_attr, SLOT, slot)
            for name, each in self.distributions.items():
                call(trial.suggest_float, name, each.low, each.high, log=each.log)
        except optuna.exceptions.UpdateFinishedTrialError:
            return None  # before it was signed, another worker took it for abandoned, and enqueued it again
        self._worker.hold(trial._trial_id)
        return trial

    def _refuse(self, waiting: FrozenTrial) -> None:
        with suppress(optuna.exceptions.UpdateFinishedTrialError):
            self._worker.call(self._study._storage.set_trial_state_values, waiting._trial_id, TrialState.FAIL)

    def _evaluate(
        self,
        claimed: list[Trial],
        objective: Objective | PopulationObjective,
        population: int,
        callbacks: Sequence[Callback],
    ) -> None:
        try:
            began = time.perf_counter()
            told = self._values(claimed, objective, population)
            seconds = (time.perf_counter() - began) / len(claimed)
            for trial, (state, value) in zip(claimed, told, strict=True):
                if len(claimed) > 1:
                    with suppress(optuna.exceptions.UpdateFinishedTrialError):  # it was given up
                        self._worker.call(trial.set_user_attr, SECONDS, seconds)
                frozen = self._finish(trial, state, value)
                if frozen is not None:
                    for callback in callbacks:
                        callback(self._study, frozen)
        except BaseException:
            for trial in claimed:
                self._worker.call(lambda id_: fail(self._study, self._study._storage.get_trial(id_)), trial._trial_id)
            raise

    def _values(
        self, claimed: list[Trial], objective: Objective | PopulationObjective, population: int
    ) -> list[tuple[TrialState, float | None]]:
        points = [Point(trial.params, self._report(trial, prune=population == 1)) for trial in claimed]
        if population > 1:
            values = [float(value) for value in cast(PopulationObjective, objective)(points)]
            if len(values) != len(points):
                raise ValueError(
                    f"the objective returned {len(values)} values for a population of {len(points)} points"
                )
            return [(TrialState.COMPLETE, _number(value)) for value in values]
        try:
            return [(TrialState.COMPLETE, _number(float(cast(Objective, objective)(points[0]))))]
        except optuna.TrialPruned:
            return [(TrialState.PRUNED, None)]
        except GivenUpError:
            return [(TrialState.FAIL, None)]

    def _report(self, trial: Trial, *, prune: bool) -> Callable[[float, int], None]:
        def report(value: float, epoch: int) -> None:
            try:
                self._worker.call(trial.report, value, epoch)
            except optuna.exceptions.UpdateFinishedTrialError:
                if prune:
                    raise GivenUpError from None
                return
            if prune and self._worker.call(trial.should_prune):
                raise optuna.TrialPruned

        return report

    def _finish(self, trial: Trial, state: TrialState, value: float | None) -> FrozenTrial | None:
        """The finished trial; None if it had been given up, or failed."""
        storage = self._study._storage

        def write() -> FrozenTrial:
            frozen = storage.get_trial(trial._trial_id)
            if state is TrialState.PRUNED:
                kept = frozen.intermediate_values.get(frozen.last_step or 0, math.nan)
                values = None if math.isnan(kept) else [kept]
            else:
                values = None if value is None else [value]
            with suppress(optuna.exceptions.UpdateFinishedTrialError):
                storage.set_trial_state_values(trial._trial_id, state, values)
            return storage.get_trial(trial._trial_id)

        frozen = self._worker.call(write)
        self._worker.release(trial._trial_id)
        if state is TrialState.FAIL:
            return None
        if frozen.state is not state:
            _logger.warning("trial %d was given up by the other workers; its value is dropped", trial.number)
            return None
        return frozen


class _Board:
    """Which slots are done or being worked at; finished trials at the beginning are looked at once."""

    def __init__(self) -> None:
        self.done: set[int] = set()
        self.open: list[FrozenTrial] = []
        self._settled = 0
        self._lowest = 0

    def update(self, trials: Sequence[FrozenTrial]) -> None:
        while self._settled < len(trials) and trials[self._settled].state.is_finished():
            self._settle(trials[self._settled])
            self._settled += 1
        rest = trials[self._settled :]
        self.open = [trial for trial in rest if not trial.state.is_finished()]
        for trial in rest:
            if trial.state.is_finished():
                self._settle(trial)

    def missing(self, wanted: float, at_most: int = 1) -> list[int]:
        """The lowest slots below `wanted` that nobody has claimed."""
        while self._lowest in self.done:
            self._lowest += 1
        claimed = {trial.user_attrs.get(SLOT) for trial in self.open}
        found: list[int] = []
        slot = self._lowest
        while slot < wanted and len(found) < at_most:
            if slot not in self.done and slot not in claimed:
                found.append(slot)
            slot += 1
        return found

    def _settle(self, trial: FrozenTrial) -> None:
        if trial.state is not TrialState.FAIL and SLOT in trial.user_attrs:
            self.done.add(trial.user_attrs[SLOT])


def open_study(
    storage: Storage, name: str, question: Mapping[str, object], pruner: BasePruner | None = None
) -> optuna.Study:
    """The study, new or as it stands in `storage`; ValueError if it was begun with another question."""
    opened = open_storage(storage)
    # Proposals are made by the search itself; a sampler here would only take time.
    study = patiently(
        lambda: optuna.create_study(
            storage=opened,
            study_name=name,
            sampler=optuna.samplers.RandomSampler(seed=0),
            pruner=pruner or NopPruner(),
            load_if_exists=True,
        )
    )
    wanted = json.loads(json.dumps(question))
    if "question" not in patiently(lambda: study.user_attrs):
        patiently(lambda: study.set_user_attr("question", wanted))
    asked = patiently(lambda: study.user_attrs)["question"]
    if asked != wanted:
        began, now = _difference(asked, wanted)
        raise ValueError(
            f"study {name!r} in this storage was begun with {began}, now {now} is asked; use another file or name"
        )
    return study


def _difference(one: dict[str, Any], other: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is not the same in both, and no more."""
    left: dict[str, Any] = {}
    right: dict[str, Any] = {}
    for key in {**one, **other}:
        a, b = one.get(key), other.get(key)
        if a != b:
            left[key], right[key] = _difference(a, b) if isinstance(a, dict) and isinstance(b, dict) else (a, b)
    return left, right


def _number(value: float) -> float:
    return math.inf if math.isnan(value) else value
