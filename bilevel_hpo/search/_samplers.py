"""TPE, Gaussian process and random search: proposals from what the study has found so far."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from bilevel_hpo.search._grid import GRACE
from bilevel_hpo.search._point import Callback, Objective
from bilevel_hpo.search._records import epochs_of, is_searched
from bilevel_hpo.search._share import Search, open_study
from bilevel_hpo.search._space import Space, as_space
from bilevel_hpo.search._storage import Storage

__all__ = ["gp", "random", "tpe"]

Bounds = Space | Mapping[str, tuple[float, float]]


def tpe(
    objective: Objective,
    space: Bounds,
    storage: Storage = None,
    *,
    trials: int | None = None,
    epochs: int | None = None,
    seed: int = 0,
    name: str = "tpe",
    pruner: BasePruner | None = None,
    about: Mapping[str, object] | None = None,
    grace: float = GRACE,
    callbacks: Sequence[Callback] = (),
) -> optuna.Study:
    """Evaluations chosen by Optuna's tree-structured Parzen estimator.

    Each proposal depends on the seed and on the finished trials alone: an interrupted search, taken up again with the
    same storage, proposes what the uninterrupted one would have. Several workers share the trials as in `grid`, but
    then the proposals depend on who finishes first. Learned λ that were put there by `record` have no influence;
    `warm_start` is the way to tell the search of one.

    Args:
        objective: λ by name ↦ validation loss.
        space: (low, high) for each λ, or `search.space(weights, low, high)`.
        storage: as in `grid`.
        trials: finished trials to reach, those in the storage counted in.
        epochs: of training in all: no trial is begun when the epochs that the trials reported have reached this, so
            the last trial of each worker may exceed it. Of `trials` and `epochs` at least one is wanted.
        seed: of the sampler.
        name: of the study.
        pruner: ends hopeless runs by what the objective tells `Point.report`.
        about: what else decides the values (data, settings, seed), JSON; all workers must come with the same.
        grace: seconds without a sign of life after which a worker on another host is given up.
        callbacks: called with (study, trial) after each trial evaluated here.

    Returns:
        The study; `search.best(study)` is the winner.
    """
    made = _Proposals("tpe", lambda seed: TPESampler(seed=seed), space, trials, epochs, seed)
    return made.search(objective, storage, name, pruner, about, grace, callbacks)


def gp(
    objective: Objective,
    space: Bounds,
    storage: Storage = None,
    *,
    trials: int | None = None,
    epochs: int | None = None,
    seed: int = 0,
    name: str = "gp",
    pruner: BasePruner | None = None,
    about: Mapping[str, object] | None = None,
    grace: float = GRACE,
    callbacks: Sequence[Callback] = (),
) -> optuna.Study:
    """Evaluations chosen by Optuna's Gaussian process; it needs SciPy. For few λ and costly trainings.

    Arguments and returned study: as in `tpe`.
    """
    made = _Proposals("gp", lambda seed: GPSampler(seed=seed), space, trials, epochs, seed)
    return made.search(objective, storage, name, pruner, about, grace, callbacks)


def random(
    objective: Objective,
    space: Bounds,
    storage: Storage = None,
    *,
    trials: int | None = None,
    epochs: int | None = None,
    seed: int = 0,
    name: str = "random",
    pruner: BasePruner | None = None,
    about: Mapping[str, object] | None = None,
    grace: float = GRACE,
    callbacks: Sequence[Callback] = (),
) -> optuna.Study:
    """Evaluations at random, uniform (or log-uniform); the floor that any other search must clear.

    Arguments and returned study: as in `tpe`.
    """
    made = _Proposals("random", lambda seed: RandomSampler(seed=seed), space, trials, epochs, seed)
    return made.search(objective, storage, name, pruner, about, grace, callbacks)


class _Proposals:
    """A sampler asked anew for each proposal, with the trials of the search alone before it."""

    def __init__(
        self,
        kind: str,
        sampler: Callable[[int], BaseSampler],
        space: Bounds,
        trials: int | None,
        epochs: int | None,
        seed: int,
    ) -> None:
        if trials is None and epochs is None:
            raise ValueError("trials or epochs is wanted, or both: how long to search")
        self.kind, self.sampler, self.trials, self.epochs, self.seed = kind, sampler, trials, epochs, seed
        self.axes = as_space(space, grid=False).axes
        self.distributions = {key: axis.distribution for key, axis in self.axes.items()}
        self._before, self._seen = _silent_study(), list[int]()

    def search(
        self,
        objective: Objective,
        storage: Storage,
        name: str,
        pruner: BasePruner | None,
        about: Mapping[str, object] | None,
        grace: float,
        callbacks: Sequence[Callback],
    ) -> optuna.Study:
        question: dict[str, Any] = {self.kind: {key: [axis.low, axis.high] for key, axis in self.axes.items()}}
        question |= {"seed": self.seed} | ({"about": about} if about else {})
        question |= {"log": logs} if (logs := [key for key, axis in self.axes.items() if axis.log]) else {}
        study = open_study(storage, name, question, pruner)
        search = Search(self.propose, self.distributions, self.wanted, queue=True)
        search.run(study, objective, population=1, grace=grace, callbacks=[self.check, *callbacks])
        return study

    def check(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """ValueError if epochs are to end the search and the objective tells of none."""
        if self.epochs is not None and epochs_of(trial) == 0:
            raise ValueError(f"epochs={self.epochs}, but the objective did not call point.report(value, epoch)")

    def propose(self, slot: int, trials: Sequence[FrozenTrial]) -> dict[str, float]:
        """λ for the `slot`-th proposal. One generator each: nothing in memory has to survive an interruption."""
        searched = [trial for trial in trials if is_searched(trial)]
        numbers = [trial.number for trial in searched]
        if self._seen != numbers[: len(self._seen)]:
            self._before, self._seen = _silent_study(), []
        self._before.sampler = self.sampler((self.seed * 1_000_003 + slot) % 2**32)
        self._before.add_trials(_plain(trial) for trial in searched[len(self._seen) :])
        # A running trial is another when it has finished: then all are copied again.
        self._seen = numbers if all(trial.state.is_finished() for trial in searched) else [-1]
        trial = self._before.ask(dict(self.distributions))
        self._before.tell(trial, state=TrialState.FAIL)
        return {key: float(trial.params[key]) for key in self.axes}

    def wanted(self, trials: Sequence[FrozenTrial]) -> float:
        """Slots in all; none more once the epochs are used up."""
        if self.epochs is not None and sum(epochs_of(trial) for trial in trials if is_searched(trial)) >= self.epochs:
            return 0
        return float("inf") if self.trials is None else self.trials


def _silent_study() -> optuna.Study:
    """In memory, and without Optuna's announcement of a new study, which is not the user's."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.create_study()
    finally:
        optuna.logging.set_verbosity(verbosity)


def _plain(trial: FrozenTrial) -> FrozenTrial:
    """Without attributes, which samplers do not read."""
    return create_trial(
        state=trial.state,
        values=trial.values if trial.state.is_finished() else None,
        params=trial.params,
        distributions=trial.distributions,
        intermediate_values=trial.intermediate_values,
    )
