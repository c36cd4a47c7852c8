"""The study of a search, written by one driver through Optuna's public API."""

import json
import uuid
from collections.abc import Mapping

import optuna
from optuna.distributions import FloatDistribution
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial, TrialState

from bilevel_hpo.run_folder import differences
from bilevel_hpo.search._records import start_for, warm_start
from bilevel_hpo.search._storage import Storage, hold_storage, open_storage, patiently
from bilevel_hpo.search._trial import SLOT, Asked, Evaluated, is_searched, made_trial

__all__ = ["KeptStudy"]

_DRIVER = "driver"
_OPEN = (TrialState.WAITING, TrialState.RUNNING)


class KeptStudy:
    """The finished trials of a search by slot, kept in a storage and in memory.

    Only finished trials are stored, each by one call, so that a killed driver leaves nothing half
    done. Of two drivers of one study the later takes over; the earlier notices at its next value and ends with an
    error. A journal file also has a lock, which refuses the later driver at once.

    Args:
        storage: see `Storage`.
        name: the name of the study.
        question: JSON with everything that the values depend on.
        distributions: the distributions of λ by name.
        starts: whether λ given to `warm_start`, or enqueued with Optuna while no driver had the study, are evaluated;
            otherwise they are refused.

    Raises:
        ValueError: the study has another question, or its file is in use or damaged.
    """

    def __init__(
        self,
        storage: Storage,
        name: str,
        question: Mapping[str, object],
        distributions: Mapping[str, FloatDistribution],
        *,
        starts: bool,
    ) -> None:
        self._distributions, self._starts, self._driver = distributions, starts, uuid.uuid4().hex
        self._lock = hold_storage(storage)
        try:
            opened, sampler = open_storage(storage), RandomSampler(seed=0)
            self.study = patiently(
                lambda: optuna.create_study(storage=opened, study_name=name, sampler=sampler, load_if_exists=True)
            )
            patiently(lambda: _check_question(self.study, question))
            patiently(lambda: self.study.set_user_attr(_DRIVER, self._driver))
            patiently(self._settle)
            self.finished = patiently(self._by_slot)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Releases the study for other drivers."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def start_for(self, slot: int) -> Mapping[str, float] | None:
        """Returns λ of a warm start, to be evaluated as `slot`; None if there is none."""
        return patiently(lambda: start_for(self.study, slot)) if self._starts else None

    def store(self, asked: Asked, found: Evaluated) -> None:
        """Stores the value of a point in the study.

        Raises:
            ValueError: another driver has taken over the study; it evaluates the point itself.
        """
        made, is_repeated = made_trial(asked, found, self._distributions), False

        def write() -> None:
            nonlocal is_repeated
            if self.study.user_attrs[_DRIVER] != self._driver:
                raise ValueError(
                    f"study {self.study.study_name!r} was taken over by another process, which continues it"
                )
            if not (is_repeated and asked.slot in self._by_slot()):  # it may be there, and the answer was lost
                is_repeated = True
                self.study.add_trial(made)

        patiently(write)
        self.finished[asked.slot] = made

    def trial(self, slot: int) -> FrozenTrial:
        """Returns the stored trial."""
        return patiently(self._by_slot)[slot]

    def _by_slot(self) -> dict[int, FrozenTrial]:
        trials = self.study.get_trials(deepcopy=False)
        return {int(trial.user_attrs[SLOT]): trial for trial in reversed(trials) if is_searched(trial)}

    def _settle(self) -> None:
        """Ends all unfinished trials: those enqueued with Optuna become warm starts, the others fail."""
        for trial in self.study.get_trials(deepcopy=False, states=_OPEN):
            if trial.state is TrialState.WAITING:
                enqueued = self.study.ask({**self._distributions})
                if self._starts:
                    warm_start(self.study, enqueued.params)
        for trial in self.study.get_trials(deepcopy=False, states=_OPEN):
            self.study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)


def _check_question(study: optuna.Study, question: Mapping[str, object]) -> None:
    wanted = json.loads(json.dumps(question))
    if "question" not in study.user_attrs:
        study.set_user_attr("question", wanted)
    asked = study.user_attrs["question"]
    different = "; ".join(differences("", asked, wanted))
    if different:
        raise ValueError(
            f"study {study.study_name!r} in this storage has other settings: {different}; use another file or name"
        )
