"""The study of a search, written by one driver through Optuna's public names."""

import json
import logging
import uuid
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import FloatDistribution
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial, Trial, TrialState

from bilevel_hpo.search._storage import Storage, hold_storage, open_storage, patiently
from bilevel_hpo.search._trial import SECONDS, SLOT, Asked, Evaluated, is_searched, made_trial

__all__ = ["KeptStudy"]

_DRIVER = "driver"
_AGAIN = "enqueued again"
_FIXED = "fixed_params"  # Optuna's system attribute of an enqueued trial: its λ
_logger = logging.getLogger(__name__)
_OPEN = (TrialState.WAITING, TrialState.RUNNING)


class KeptStudy:
    """The finished trials of a search by slot, in a storage and in memory.

    Only finished trials are put into the storage, each by one call, so that a driver that is killed leaves nothing half
    done. The exception is λ that somebody enqueued: Optuna's `ask` begins its trial.

    Of two drivers of one study the later takes it over; the earlier sees that at its next value and ends with an error.
    A journal file has a lock besides, by which the later is refused at once.

    Args:
        storage: see `Storage`.
        name: of the study.
        question: what the values are an answer to, JSON.
        distributions: of λ by name.
        queue: enqueued λ are evaluated; otherwise they are refused.

    Raises:
        ValueError: the study was begun with another question, or its file is in use or damaged.
    """

    def __init__(
        self,
        storage: Storage,
        name: str,
        question: Mapping[str, object],
        distributions: Mapping[str, FloatDistribution],
        *,
        queue: bool,
    ) -> None:
        self._distributions, self._queue = dict(distributions), queue
        self._begun: dict[int, Trial] = {}
        self._driver = uuid.uuid4().hex
        self._lock = hold_storage(storage)
        try:
            opened = open_storage(storage)
            self.study = patiently(
                lambda: optuna.create_study(
                    storage=opened, study_name=name, sampler=RandomSampler(seed=0), load_if_exists=True
                )
            )
            self._check_question(question)
            patiently(lambda: self.study.set_user_attr(_DRIVER, self._driver))
            patiently(self._settle)
            self.finished = patiently(self._by_slot)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let other drivers in."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def enqueued(self, slot: int) -> Mapping[str, float] | None:
        """λ that somebody enqueued, to be evaluated as `slot`; None if there is none."""

        def begin() -> Trial | None:
            if not self._queue or not self._left_open():
                return None
            self._settle()
            return self.study.ask({**self._distributions}) if self._left_open() else None

        while (trial := patiently(begin)) is not None:
            outside = [
                name for name, each in self._distributions.items() if not each.low <= trial.params[name] <= each.high
            ]
            if not outside:
                self._begun[slot] = trial
                return {name: float(trial.params[name]) for name in self._distributions}
            _logger.warning("enqueued trial %d is refused: λ %s is out of bounds", trial.number, outside[0])
            self.study.tell(trial, state=TrialState.FAIL)
        return None

    def store(self, asked: Asked, found: Evaluated) -> None:
        """Put the value of a point into the study.

        Raises:
            ValueError: another driver has taken the study over; it evaluates the point itself.
        """
        made, is_repeated = made_trial(asked, found, self._distributions), False

        def write() -> None:
            nonlocal is_repeated
            driver = self.study.user_attrs[_DRIVER]
            if driver != self._driver:
                raise ValueError(
                    f"study {self.study.study_name!r} was taken over by another process, which goes on with it"
                )
            if asked.slot in self._begun:
                self._tell(self._begun[asked.slot], made)
            elif not (is_repeated and asked.slot in self._by_slot()):  # it may be there, and the answer was lost
                is_repeated = True
                self.study.add_trial(made)

        patiently(write)
        self._begun.pop(asked.slot, None)
        self.finished[asked.slot] = made

    def trial(self, slot: int) -> FrozenTrial:
        """As it stands in the storage."""
        return patiently(self._by_slot)[slot]

    def _by_slot(self) -> dict[int, FrozenTrial]:
        trials = self.study.get_trials(deepcopy=False)
        return {int(trial.user_attrs[SLOT]): trial for trial in reversed(trials) if is_searched(trial)}

    def _tell(self, begun: Trial, made: FrozenTrial) -> None:
        for epoch, value in made.intermediate_values.items():
            begun.report(value, epoch)
        for name in (SLOT, SECONDS):
            begun.set_user_attr(name, made.user_attrs[name])
        values = made.values if made.state is TrialState.COMPLETE else None
        self.study.tell(begun, values, made.state, skip_if_finished=True)

    def _left_open(self) -> list[FrozenTrial]:
        mine = {trial.number for trial in self._begun.values()}
        found = self.study.get_trials(deepcopy=False, states=_OPEN)
        return [trial for trial in found if trial.number not in mine]

    def _settle(self) -> None:
        """End what others left unfinished: λ enqueued for a search is enqueued again, the rest fails."""
        left = self._left_open()
        if not self._queue:
            for trial in left:
                if trial.state is TrialState.WAITING:
                    self.study.ask()
            left = self._left_open()
        again = {trial.user_attrs.get(_AGAIN) for trial in left}
        for trial in left:
            if trial.state is TrialState.RUNNING:
                fixed = trial.system_attrs.get(_FIXED) if self._queue else None
                if fixed is not None and trial.number not in again:
                    self.study.enqueue_trial(fixed, user_attrs={_AGAIN: trial.number})
                self.study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)

    def _check_question(self, question: Mapping[str, object]) -> None:
        wanted = json.loads(json.dumps(question))
        if "question" not in patiently(lambda: self.study.user_attrs):
            patiently(lambda: self.study.set_user_attr("question", wanted))
        asked = patiently(lambda: self.study.user_attrs)["question"]
        if asked != wanted:
            began, now = _difference(asked, wanted)
            raise ValueError(
                f"study {self.study.study_name!r} in this storage was begun with {began}, now {now} is asked; "
                "use another file or name"
            )


def _difference(one: dict[str, Any], other: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is not the same in both, and no more."""
    left: dict[str, Any] = {}
    right: dict[str, Any] = {}
    for key in {**one, **other}:
        a, b = one.get(key), other.get(key)
        if a != b:
            left[key], right[key] = _difference(a, b) if isinstance(a, dict) and isinstance(b, dict) else (a, b)
    return left, right
