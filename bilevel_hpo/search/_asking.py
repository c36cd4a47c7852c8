"""The plan of one search: the points that can be evaluated now, given the known values."""

from collections.abc import Sequence
from typing import Protocol

import optuna
from optuna.trial import FrozenTrial

from bilevel_hpo.jobs import Plan
from bilevel_hpo.search._study import KeptStudy
from bilevel_hpo.search._trial import Asked, Evaluated, epochs_of

__all__ = ["Asking", "Rule"]


class Rule(Protocol):
    """The rule by which a search chooses points."""

    def propose(self, slots: range, taken: dict[int, dict[str, float]], before: Sequence[FrozenTrial]) -> list[Asked]:
        """Proposes the points of `slots` together.

        Args:
            slots: the places in the search.
            taken: the λ of slots that have one already.
            before: the finished trials of all earlier slots, in order.
        """


class Asking(Plan[Asked, Evaluated]):
    """A search with an ask-and-tell interface, for `bilevel_hpo.jobs.drive`; made by `bilevel_hpo.search.asking`.

    Points come in rounds; the next round begins when all points of one have values. So proposals never depend on
    which worker is faster, and an interrupted search continues as if nothing had happened.

    Args:
        kept: the stored study.
        rule: the rule that chooses the points.
        round_size: the number of points in a round.
        trials: the total number of points; None for no limit.
        epochs: no round begins once the trials have reported this many epochs; None for no limit.
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
        """The study of the search, with all values so far."""
        return self._kept.study

    @property
    def points(self) -> int:
        """The total number of points; without a limit on trials, the number of points with a value so far."""
        return len(self._kept.finished) if self._trials is None else self._trials

    def start(self) -> Sequence[Asked]:
        """Returns the points of the next round without a value; none while the current round is incomplete."""
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
        """Stores the value in the study.

        Raises:
            ValueError: the search is limited by epochs, and none was reported.
        """
        self._kept.store(job, result)
        self._waiting.discard(job.slot)
        if self._epochs is not None and not result.reports:
            raise ValueError(f"epochs={self._epochs}, but the objective did not call point.report(value, epoch)")

    def trial(self, slot: int) -> FrozenTrial:
        """Returns the stored trial of a point that has its value."""
        return self._kept.trial(slot)

    def close(self) -> None:
        """Releases the study for another driver; done automatically when all points have values."""
        self._kept.close()

    def _round(self) -> range:
        if self._epochs is not None and self._used >= self._epochs:
            return range(0)
        stop = self._next + self._size
        return range(self._next, stop if self._trials is None else min(stop, self._trials))
