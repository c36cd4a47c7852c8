"""The best of other methods, as a user would choose who has tried them all."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from bilevel_hpo.comparison._jobs import Trained
from bilevel_hpo.comparison._setting import Answer, Bundle, Setting

__all__ = ["BestOf"]


@dataclass(frozen=True)
class BestOf:
    """Takes, for each seed, the method with the best score on the selection data; the cost of all methods counts.

    It trains nothing: the other methods must be part of the comparison.
    """

    of: tuple[str, ...]
    name: str
    title: str = ""

    group: ClassVar[str] = "search"

    def trainings(self, setting: Setting) -> int:
        """None of its own."""
        return 0

    def plan(self, setting: Setting, seed: int) -> "_Choice":
        """Waits for the others."""
        return _Choice(self, setting, seed)


class _Choice:
    remembers_trials = False

    def __init__(self, method: BestOf, setting: Setting, seed: int) -> None:
        self._method, self._setting, self._seed = method, setting, seed
        self.answer: Answer | None = None

    def start(self) -> Sequence[Bundle]:
        """No training; the answer, as soon as all others are there."""
        found = {name: self._setting.answers.get((name, self._seed)) for name in self._method.of}
        known = {name: answer for name, answer in found.items() if answer is not None}
        if len(known) == len(found):
            best = min(known, key=lambda name: self._setting.metric.loss(known[name].trained.selection))
            rest = [answer for name, answer in known.items() if name != best]
            answer = replace(known[best], note=best)
            for other in rest:
                answer = answer.after(other)
            self.answer = answer
        return []

    def finish(self, job: Bundle, result: list[Trained]) -> None:
        """There is no job."""
