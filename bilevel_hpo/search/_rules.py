"""The rules by which searches choose points: those of a grid, or the proposals of an Optuna sampler."""

from collections.abc import Callable, Mapping, Sequence

import optuna
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from bilevel_hpo.search._space import Space
from bilevel_hpo.search._trial import Asked

__all__ = ["GridPoints", "Proposals", "silent_study"]


class GridPoints:
    """The rule of a grid: the given points, in order."""

    def __init__(self, points: Sequence[Mapping[str, float]]) -> None:
        self._points = points

    def propose(self, slots: range, taken: dict[int, dict[str, float]], before: Sequence[FrozenTrial]) -> list[Asked]:
        """Returns the points of `slots`."""
        return [Asked(slot, self._points[slot]) for slot in slots]


class Proposals:
    """The rule of a sampler, created again for each proposal with only the trials of the search.

    So no state of the sampler must survive an interruption. It sees points of the same round as running trials.
    """

    def __init__(self, sampler: Callable[[int], BaseSampler], seed: int, space: Space) -> None:
        self._sampler, self._seed, self._distributions = sampler, seed, space.distributions
        self._study, self._seen = silent_study(), 0

    def propose(self, slots: range, taken: dict[int, dict[str, float]], before: Sequence[FrozenTrial]) -> list[Asked]:
        """Returns λ for `slots`, one after the other; taken slots keep their λ."""
        self._study.add_trials(_plain(trial) for trial in before[self._seen :])
        self._seen = len(before)
        asked, together = [], []
        for slot in slots:
            self._study.sampler = self._sampler((self._seed * 1_000_003 + slot) % 2**32)
            if slot in taken:
                self._study.enqueue_trial(taken[slot])
            trial = self._study.ask({**self._distributions})
            together.append(trial)
            asked.append(Asked(slot, {name: float(trial.params[name]) for name in self._distributions}))
        for trial in together:
            self._study.tell(trial, state=TrialState.FAIL)
        return asked


def silent_study(**options: object) -> optuna.Study:
    """Makes a study in memory, without Optuna's message about a new study."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.create_study(**options)  # type: ignore[arg-type]
    finally:
        optuna.logging.set_verbosity(verbosity)


def _plain(trial: FrozenTrial) -> FrozenTrial:
    """Returns a trial without attributes, which samplers do not read."""
    return create_trial(
        state=trial.state,
        values=trial.values,
        params=trial.params,
        distributions=trial.distributions,
        intermediate_values=trial.intermediate_values,
    )
