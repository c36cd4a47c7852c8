"""The plan of a method that trains once."""

from collections.abc import Callable, Sequence

from bilevel_hpo.comparison._jobs import Job, Trained
from bilevel_hpo.comparison._setting import Answer, Bundle

__all__ = ["OneTraining"]


class OneTraining:
    """A single training.

    Args:
        method: its name.
        seed: of the training.
        lambda_: constant λ `[N]`; None for one that is learned.
        after: gives the answer that must be there before, None until it is. Its λ is taken instead of `lambda_`, and
            its cost is counted.
        as_long_as: gives the answer whose seconds the training is told, as `run.options["seconds"]`.
    """

    remembers_trials = False

    def __init__(
        self,
        method: str,
        seed: int,
        lambda_: Sequence[float] | None = None,
        after: Callable[[], Answer | None] | None = None,
        as_long_as: Callable[[], Answer | None] | None = None,
    ) -> None:
        self._method, self._seed, self._lambda = method, seed, lambda_
        self._after, self._as_long_as = after, as_long_as
        self._before: Answer | None = None
        self._started = False
        self.answer: Answer | None = None

    def start(self) -> Sequence[Bundle]:
        """The training, once."""
        if self._started:
            return []
        if self._after is not None:
            self._before = self._after()
            if self._before is None:
                return []
            self._lambda = self._before.trained.lambda_
        options = {}
        if self._as_long_as is not None:
            other = self._as_long_as()
            if other is None:
                return []
            options = {"seconds": other.seconds}
        self._started = True
        lambda_ = None if self._lambda is None else tuple(self._lambda)
        return [(Job(self._method, self._seed, 0, lambda_, test=True, options=options),)]

    def finish(self, job: Bundle, result: list[Trained]) -> None:
        """It is the answer."""
        (trained,) = result
        own = Answer(trained, trained.training_runs, trained.seconds, trained.cpu_seconds, trained.epochs)
        self.answer = own if self._before is None else own.after(self._before)
