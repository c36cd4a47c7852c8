"""Run every method and seed on the workers, and keep their answers."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Self

import optuna

from bilevel_hpo.comparison._describe import described
from bilevel_hpo.comparison._jobs import Trained
from bilevel_hpo.comparison._learned import Learned
from bilevel_hpo.comparison._searched import Searched, SearchPlan
from bilevel_hpo.comparison._setting import Answer, Bundle, Method, MethodPlan, Setting
from bilevel_hpo.comparison._store import Store
from bilevel_hpo.comparison._trainer import Together, Trainer, Training
from bilevel_hpo.jobs import On, drive, workers

__all__ = ["Answers", "Progress", "run_methods"]

Answers = dict[tuple[str, int], Answer]
"""Answers by method and seed, in the order of methods, then seeds."""

Progress = Callable[[int, int], object]
"""A function called with the numbers of finished and of all trainings."""


class _Kept:
    """A plan that reads finished trainings from the folder, and writes new ones there."""

    def __init__(self, method: Method, seed: int, setting: Setting, ended: Callable[[int], object]) -> None:
        self._plan: MethodPlan = method.plan(setting, seed)
        self._key, self._setting, self._ended = (method.name, seed), setting, ended
        self._left = method.trainings(setting)
        self._store = Store(setting.folder, described(method))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if isinstance(self._plan, SearchPlan):
            self._plan.close()

    def start(self) -> Sequence[Bundle]:
        """Returns the jobs of the plan that are not in the folder."""
        wanted: list[Bundle] = []
        asked = deque(self._plan.start())
        while asked:
            bundle = asked.popleft()
            known = [trained for trained in map(self._store.read, bundle) if trained is not None]
            if len(known) < len(bundle):
                wanted.append(bundle)
            else:
                self._take(bundle, known)
                asked.extend(self._plan.start())
        self._note()
        return wanted

    def finish(self, job: Bundle, result: list[Trained]) -> None:
        """Keeps the records, then tells the plan."""
        for each, trained in zip(job, result, strict=True):
            if each.test or not self._plan.remembers_trials:
                self._store.write(each, trained)
        self._take(job, result)

    def _take(self, bundle: Bundle, found: list[Trained]) -> None:
        self._plan.finish(bundle, found)
        self._count(len(bundle))
        self._note()

    def _note(self) -> None:
        if self._plan.answer is not None:
            self._setting.answers.setdefault(self._key, self._plan.answer)
            self._count(self._left)  # trials that were in the study already

    def _count(self, trainings: int) -> None:
        if trainings > 0:
            self._left -= trainings
            self._ended(trainings)


def run_methods(
    training: Training,
    methods: Sequence[Method],
    seeds: Sequence[int],
    setting: Setting,
    *,
    on: On = None,
    together: Together | None = None,
    progress: Progress = lambda done, total: None,
) -> Answers:
    """Trains what is not in `setting.folder` yet; an interrupted call can be repeated and gives the same answers.

    Args:
        training: the user's function.
        methods: the methods, with different names.
        seeds: of every method.
        setting: the common settings of the methods.
        on: where to train, see `bilevel_hpo.jobs.workers`.
        together: trains several points of a search in one call.
        progress: a function called with the numbers of finished and of all trainings.
    """
    total, done = len(seeds) * sum(method.trainings(setting) for method in methods), 0

    def ended(count: int) -> None:
        nonlocal done
        done += count
        progress(done, max(done, total))  # nobody knows beforehand how many trials some epochs allow

    # Seed by seed, so that an unfinished run has whole seeds; in one the searches first, whose trainings wait for each
    # other.
    first = sorted(methods, key=lambda method: -method.trainings(setting))
    learned = {method.name: method for method in methods if isinstance(method, Learned)}
    pruners = {method.name: method.pruner for method in methods if isinstance(method, Searched) and method.pruner}
    progress(0, total)
    trainer = Trainer(training, together, setting.weights, learned, setting.metric, pruners)
    with ExitStack() as stack:
        stack.enter_context(_quiet_optuna())
        plans = [stack.enter_context(_Kept(method, seed, setting, ended)) for seed in seeds for method in first]
        pool, had = stack.enter_context(workers(trainer, on)), -1
        while had < len(setting.answers) < len(plans):  # answers read from files are no results that end a wait
            had = len(setting.answers)
            drive(plans, pool)
    missing = [method.name for method in methods if (method.name, seeds[0]) not in setting.answers]
    if missing:
        raise ValueError(f"methods: {missing} need the result of a method that is not among them")
    return {(method.name, seed): setting.answers[method.name, seed] for method in methods for seed in seeds}


@contextmanager
def _quiet_optuna() -> Iterator[None]:
    """Silences Optuna's line for each study that is made or opened."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(before, optuna.logging.WARNING))
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
