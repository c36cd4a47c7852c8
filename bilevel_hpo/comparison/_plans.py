"""The plan of a method that trains once."""

from collections.abc import Callable, Sequence

from bilevel_hpo.comparison._jobs import Job, Trained
from bilevel_hpo.comparison._setting import Answer, Bundle

__all__ = ["OneTraining"]


class OneTraining:
    """A single training.

    Args:
        method: the name of the method.
        seed: the seed of the training.
        lambda_: the constant λ `[N]`; None if it is learned.
        after: returns the answer that this training needs first, None until it exists. Its λ replaces `lambda_`, and
            its cost is added.
        as_long_as: returns the answer whose seconds the training receives as `run.options["seconds"]`.
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
        """Takes the record as the answer."""
        (trained,) = result
        own = Answer(trained, trained.training_runs, trained.seconds, trained.cpu_seconds, trained.epochs)
        self.answer = own if self._before is None else own.after(self._before)
