"""Gradient descent on continuous hyperparameters λ, inside an ordinary Optuna study.

The objective reports dL/dλ at the end of its training as a user attribute of the trial; the next
trial is one step of Adam further. It needs only optuna and numpy, so that the folder can be used
and published alone.
"""

from __future__ import annotations

import collections.abc
import math
import typing
import warnings
import zlib

import numpy as np
import optuna
from optuna.trial import FrozenTrial


class HypergradientSampler(optuna.samplers.BaseSampler):
    """Proposes the last λ moved by one projected step of Adam along the reported hypergradients.

    The objective calls ``trial.set_user_attr("hypergradient", {name: dL/dλ})`` with the gradient
    of the value it returns, one number per learned parameter, in the parameter's own unit. For
    distributions with ``log=True`` the step is taken in ln λ, by the chain rule.

    The sampler has no state of its own: a proposal is a function of the seed and of the trials
    with lower numbers, so that studies are resumed exactly and workers need to share only
    the storage. With u = λ, or ln λ, and the trials in the order of their numbers:

    - A complete trial with a hypergradient moves Adam's moments; the next proposal starts from the
      last of them. Each parameter has its own moments, so conditional parameters are fine.
    - First trial: ``init``, or the middle of the bounds. ``study.enqueue_trial`` works as well.
    - A trial that is still running since then is assumed to report the last hypergradient again:
      the proposal is one step further. Before any hypergradient, it is the start ± ``lr``.
    - Each trial since then that was pruned, or reported a hypergradient that cannot be used, or
      reported one and failed (its value was NaN), halves the step. Other failed trials, and
      complete ones without a hypergradient, are passed over.

    When not to use it: without hypergradients it does not move (use TPE); with an inner training
    that can change λ on its way, doing so is cheaper than one training per step.

    Args:
        lr: Adam's learning rate, the length of a typical step in units of λ, or of ln λ.
        betas: Adam's decay rates.
        eps: Adam's ε.
        init: the first λ by name; by default the middle of the bounds.
        names: the learned parameters; by default every ``suggest_float`` without ``step``.
        independent_sampler: the sampler of all other parameters; by default random by ``seed`` and
            the trial's number.
        seed: the seed of the random numbers.

    Raises:
        ValueError: an argument is invalid, ``init`` lies outside the bounds, the study has several
            objectives, or a trial ends with a hypergradient of wrong names or type.
    """

    def __init__(
        self,
        lr: float = 0.1,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        init: collections.abc.Mapping[str, float] | None = None,
        names: collections.abc.Collection[str] | None = None,
        independent_sampler: optuna.samplers.BaseSampler | None = None,
        seed: int | None = None,
    ) -> None:
        if not 0 < lr < math.inf:
            raise ValueError(f"lr must be positive; got {lr}")
        if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"betas must be two numbers in [0, 1); got {betas}")
        if not 0 < eps < math.inf:
            raise ValueError(f"eps must be positive; got {eps}")
        if isinstance(names, str):
            raise ValueError(f"names must be a list of names; got {names!r}")
        self._lr = lr
        self._betas = betas
        self._eps = eps
        self._init = dict(init or {})
        self._names = None if names is None else frozenset(names)
        self._independent_sampler = independent_sampler
        self._seed = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed

    def reseed_rng(self) -> None:
        """Reseed the independent sampler; all else depends on the trial's number."""
        if self._independent_sampler is not None:
            self._independent_sampler.reseed_rng()

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, optuna.distributions.BaseDistribution]:
        """Return the learned parameters of the last trial with a hypergradient."""
        _refuse_several_objectives(study)
        for past in reversed(_earlier(study, trial)):
            if self._usable(past) is not None:
                return dict(self._learned(past.distributions))
        return {}

    def sample_relative(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        search_space: dict[str, optuna.distributions.BaseDistribution],
    ) -> dict[str, typing.Any]:
        """Propose all of ``search_space`` at once; time is linear in trials × parameters."""
        learned = self._learned(search_space)
        return self._propose(study, trial, learned) | {
            name: self.sample_independent(study, trial, name, distribution)
            for name, distribution in search_space.items()
            if name not in learned
        }

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: optuna.distributions.BaseDistribution,
    ) -> typing.Any:
        """Propose one parameter: by its own hypergradients if it is learned, otherwise drawn."""
        _refuse_several_objectives(study)
        learned = self._learned({param_name: param_distribution})
        if learned:
            return self._propose(study, trial, learned)[param_name]
        sampler = self._independent_sampler
        if sampler is None:
            seed = int(self._generator(trial, param_name).integers(2**32))
            sampler = optuna.samplers.RandomSampler(seed=seed)
        return sampler.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Pass the call on to the independent sampler."""
        if self._independent_sampler is not None:
            self._independent_sampler.before_trial(study, trial)

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: optuna.trial.TrialState,
        values: collections.abc.Sequence[float] | None,
    ) -> None:
        """Check the hypergradient as soon as it is reported; warn if it is not finite."""
        if self._independent_sampler is not None:
            self._independent_sampler.after_trial(study, trial, state, values)
        if state != optuna.trial.TrialState.COMPLETE:
            return
        unknown = sorted({*self._init, *(self._names or ())} - trial.params.keys())
        if unknown:
            _warn(f"init or names has {unknown}, which trial {trial.number} did not suggest")
        try:
            gradient = self._hypergradient(trial)
        except ArithmeticError as error:
            _warn(f"{error}; the next step will be half as long")
            return
        if gradient is None and self._learned(trial.distributions):
            _warn(f"trial {trial.number} is complete, but has no user attribute 'hypergradient'")

    def _learned(
        self, distributions: dict[str, optuna.distributions.BaseDistribution]
    ) -> dict[str, optuna.distributions.FloatDistribution]:
        """Return the continuous ones among `names`."""
        return {
            name: distribution
            for name, distribution in distributions.items()
            if isinstance(distribution, optuna.distributions.FloatDistribution)
            and distribution.step is None
            and (self._names is None or name in self._names)
        }

    def _hypergradient(self, trial: FrozenTrial) -> dict[str, float] | None:
        """Return dL/dλ by name, or None where the trial has none.

        Raises:
            ValueError: wrong names or types.
            ArithmeticError: an entry is not finite.
        """
        reported = trial.user_attrs.get("hypergradient")
        if reported is None:
            return None
        where = f"trial {trial.number}: user attribute 'hypergradient'"
        if not isinstance(reported, collections.abc.Mapping):
            raise ValueError(f"{where} must be a mapping of names to numbers; got {reported!r}")
        learned = self._learned(trial.distributions)
        for names, fault in (
            (learned.keys() - reported.keys(), "is missing"),
            (reported.keys() - learned.keys(), "is there, but is no learned parameter"),
        ):
            if names:
                known = sorted(learned)
                raise ValueError(f"{where}[{min(names)!r}] {fault}; its names must be {known}")
        gradient = {}
        for name, value in reported.items():
            try:
                gradient[name] = float(value)
            except (TypeError, ValueError):
                raise ValueError(f"{where}[{name!r}] must be a number; got {value!r}") from None
            if not math.isfinite(gradient[name]):
                raise ArithmeticError(f"{where}[{name!r}] must be finite; got {value!r}")
        return gradient

    def _usable(self, trial: FrozenTrial) -> dict[str, float] | None:
        """Return the hypergradient of a complete trial; None, and a warning, if it is unusable."""
        if trial.state != optuna.trial.TrialState.COMPLETE:
            return None
        try:
            return self._hypergradient(trial)
        except (ValueError, ArithmeticError) as error:
            _warn(f"{error}; it is left out")
            return None

    def _generator(self, trial: FrozenTrial, name: str) -> np.random.Generator:
        return np.random.default_rng([self._seed, trial.number, zlib.crc32(name.encode())])

    def _start(self, name: str, distribution: optuna.distributions.FloatDistribution) -> float:
        low, high = distribution.low, distribution.high
        if name not in self._init:
            return float(np.sqrt(low) * np.sqrt(high)) if distribution.log else (low + high) / 2
        if not low <= self._init[name] <= high:
            raise ValueError(f"init[{name!r}] is {self._init[name]}, outside of [{low}, {high}]")
        return float(self._init[name])

    def _propose(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        space: dict[str, optuna.distributions.FloatDistribution],
    ) -> dict[str, float]:
        if not space:
            return {}
        states = optuna.trial.TrialState
        names = list(space)
        log = np.array([distribution.log for distribution in space.values()])
        low = np.array([distribution.low for distribution in space.values()])
        high = np.array([distribution.high for distribution in space.values()])
        ascent = study.direction == optuna.study.StudyDirection.MAXIMIZE

        u = np.zeros(len(space))
        adam = _Adam(len(space), self._betas, self._eps)
        gradient = np.zeros(len(space))
        running = np.zeros(len(space), dtype=int)  # since the last hypergradient of each parameter
        rejected = np.zeros(len(space), dtype=int)
        for past in _earlier(study, trial):
            if past.state == states.RUNNING:
                running += 1  # its parameters may not be in the storage yet
                continue
            reported = self._usable(past)
            if reported is None:
                if past.state == states.PRUNED or "hypergradient" in past.user_attrs:
                    rejected += [name in past.params for name in names]
                continue
            here = np.array([name in reported for name in names])
            at = np.array([past.params[name] if name in reported else 1.0 for name in names])
            g = np.array([reported.get(name, 0.0) for name in names])
            if ascent:
                g = -g
            gradient = np.where(here, np.where(log, at * g, g), gradient)
            u = np.where(here, _where_log(np.log, at, log), u)
            adam.update(gradient, here)
            running[here] = rejected[here] = 0

        started = adam.steps > 0
        lr = self._lr * 0.5**rejected
        bounds = _where_log(np.log, low, log), _where_log(np.log, high, log)
        u = np.clip(u - lr * adam.direction(), *bounds)
        for ahead in range(running[started].max(initial=0)):
            more = started & (running > ahead)
            adam.update(gradient, more)
            u = np.where(more, np.clip(u - lr * adam.direction(), *bounds), u)

        lambda_ = np.clip(_where_log(np.exp, u, log), low, high)
        for i in np.flatnonzero(~started):
            lambda_[i] = self._start(names[i], space[names[i]])
            if running[i] or rejected[i]:  # that point is being tried, or was no good
                step = self._lr * self._generator(trial, names[i]).choice([-1.0, 1.0])
                moved = lambda_[i] * np.exp(step) if log[i] else lambda_[i] + step
                lambda_[i] = np.clip(moved, low[i], high[i])
        return dict(zip(names, lambda_.tolist(), strict=True))


class _Adam:
    """Adam's moments (Kingma and Ba 2015, algorithm 1), with a count of steps per element."""

    def __init__(self, size: int, betas: tuple[float, float], eps: float) -> None:
        self.steps = np.zeros(size, dtype=int)
        self._betas = betas
        self._eps = eps
        self._first = np.zeros(size)
        self._second = np.zeros(size)

    def update(self, gradient: np.ndarray, here: np.ndarray) -> None:
        """Update the moments with the gradient ``[size]`` where ``here`` is true."""
        beta1, beta2 = self._betas
        self.steps += here
        self._first[here] = (beta1 * self._first + (1 - beta1) * gradient)[here]
        self._second[here] = (beta2 * self._second + (1 - beta2) * gradient**2)[here]

    def direction(self) -> np.ndarray:
        """Return the step over the learning rate ``[size]``; zero where there was no update."""
        steps = np.maximum(self.steps, 1)
        first = self._first / (1 - self._betas[0] ** steps)
        second = self._second / (1 - self._betas[1] ** steps)
        return first / (np.sqrt(second) + self._eps)


def _earlier(study: optuna.Study, trial: FrozenTrial) -> list[FrozenTrial]:
    """Return the trials with lower numbers, in their order."""
    trials = study.get_trials(deepcopy=False)
    return sorted((t for t in trials if t.number < trial.number), key=lambda t: t.number)


def _where_log(function: np.ufunc, values: np.ndarray, log: np.ndarray) -> np.ndarray:
    """Return ``function(values)`` where ``log`` is true, ``values`` elsewhere."""
    return np.asarray(function(values, out=values.copy(), where=log))


def _refuse_several_objectives(study: optuna.Study) -> None:
    n = len(study.directions)
    if n > 1:
        raise ValueError(f"the study has {n} objectives; HypergradientSampler follows only one")


def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=3)


__all__ = ["HypergradientSampler"]
