"""The plan of one search: which points can be evaluated now, given the values that are there."""

from collections.abc import Sequence
from typing import Protocol

import optuna
from optuna.trial import FrozenTrial

from bilevel_hpo.jobs import Plan
from bilevel_hpo.search._study import KeptStudy
from bilevel_hpo.search._trial import Asked, Evaluated, epochs_of

__all__ = ["Asking", "Rule"]


class Rule(Protocol):
    """How a search chooses points."""

    def propose(self, slots: range, taken: dict[int, dict[str, float]], before: Sequence[FrozenTrial]) -> list[Asked]:
        """The points of `slots`, proposed together.

        Args:
            slots: places in the search.
            taken: λ of those of them that have one already.
            before: finished trials of all slots before these, in order.
        """


class Asking(Plan[Asked, Evaluated]):
    """A search as ask and tell, for `bilevel_hpo.jobs.drive`: made by `bilevel_hpo.search.asking`.

    Points come in rounds, the next when all of one have their values: so what is proposed never depends on who is
    quicker, and a search that was interrupted goes on as if nothing had happened.

    Args:
        kept: the study.
        rule: chooses the points.
        round_size: points in a round.
        trials: points in all; None without a limit.
        epochs: no round begins when the trials have reported so many; None without a limit.
    """

    def __init__(
        self, kept: KeptStudy, rule: Rule, round_size: int, trials: int | None = None, epochs: int | None = None
    ) -> None:
        self._kept, self._rule, self._size, self._trials, self._epochs = kept, rule, round_size, trials, epochs
        self._next, self._used = 0, 0
        self._waiting: set[int] = set()
        self.before: list[FrozenTrial] = []
        """Finished trials of the rounds before the present one, in the order of the search."""

    @property
    def study(self) -> optuna.Study:
        """Of the search, with all values that are there."""
        return self._kept.study

    @property
    def points(self) -> int:
        """Points in all; of a search that only epochs end, those with a value so far."""
        return len(self._kept.finished) if self._trials is None else self._trials

    def start(self) -> Sequence[Asked]:
        """The points of the next round that have no value; none while values of the present one are waited for."""
        finished = self._kept.finished
        while not self._waiting:
            ended = [finished[slot] for slot in range(len(self.before), self._next)]
            self._used += sum(epochs_of(trial) for trial in ended)
            self.before += ended
            slots = self._round()
            if not slots:
                self.close()
                break
            self._next = slots.stop
            if all(slot in finished for slot in slots):
                continue
            taken = {slot: finished[slot].params for slot in slots if slot in finished}
            for slot in slots:
                start = None if slot in taken else self._kept.start_for(slot)
                taken |= {} if start is None else {slot: dict(start)}
            asked = [one for one in self._rule.propose(slots, taken, self.before) if one.slot not in finished]
            self._waiting = {one.slot for one in asked}
            return asked
        return []

    def finish(self, job: Asked, result: Evaluated) -> None:
        """Put the value into the study.

        Raises:
            ValueError: epochs are to end the search, and none was reported.
        """
        self._kept.store(job, result)
        self._waiting.discard(job.slot)
        if self._epochs is not None and not result.reports:
            raise ValueError(f"epochs={self._epochs}, but the objective did not call point.report(value, epoch)")

    def trial(self, slot: int) -> FrozenTrial:
        """The trial of a point that has its value, as it stands in the storage."""
        return self._kept.trial(slot)

    def close(self) -> None:
        """Let another driver have the study; done by itself when all points have their values."""
        self._kept.close()

    def _round(self) -> range:
        if self._epochs is not None and self._used >= self._epochs:
            return range(0)
        stop = self._next + self._size
        return range(self._next, stop if self._trials is None else min(stop, self._trials))
