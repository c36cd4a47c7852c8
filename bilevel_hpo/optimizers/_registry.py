"""The registry of update rules by optimizer class."""

import inspect
from typing import Any

import torch

from bilevel_hpo.errors import UnsupportedError
from bilevel_hpo.optimizers._adam import ADAM, ADAMAX, NADAM, RADAM
from bilevel_hpo.optimizers._matrix import ADAFACTOR, MUON
from bilevel_hpo.optimizers._rule import Rule, UpdateFunction
from bilevel_hpo.optimizers._sgd import ASGD, SGD
from bilevel_hpo.optimizers._square import ADADELTA, ADAGRAD, RMSPROP
from bilevel_hpo.optimizers._step_count import StepCount

__all__ = ["leaves_steps_out", "register", "rule_for", "supported", "unwrapped"]

Optimizer = torch.optim.Optimizer

_RULES: dict[type[Optimizer], Rule] = {
    torch.optim.SGD: SGD,
    torch.optim.Adam: ADAM,
    torch.optim.AdamW: ADAM,
    torch.optim.NAdam: NADAM,
    torch.optim.RAdam: RADAM,
    torch.optim.RMSprop: RMSPROP,
    torch.optim.Adagrad: ADAGRAD,
    torch.optim.Adamax: ADAMAX,
    torch.optim.Adadelta: ADADELTA,
    torch.optim.ASGD: ASGD,
    torch.optim.Muon: MUON,
    torch.optim.Adafactor: ADAFACTOR,
}

_WRAPPERS = ("AcceleratedOptimizer", "LightningOptimizer")
"""Classes that hold another optimizer in `.optimizer` and step as it does."""

_OWN = frozenset({"step", "_init_group"})
"""Methods of a subclass that may change what a step does."""


def register(
    cls: type[Optimizer],
    update: UpdateFunction | type[Optimizer],
    *,
    elementwise: bool = True,
    scalars: tuple[str, ...] = ("step",),
) -> None:
    """Makes the step of optimizer `cls`, and of subclasses that do not change it, differentiable.

    An existing rule of `cls` is replaced. docs/optimizers.md has a complete example and its test.

    Args:
        cls: a subclass of `torch.optim.Optimizer`.
        update: the step of one parameter as a pure function (θ, g, state, group) ↦ (θ', state'), or another class of
            optimizer that steps like `cls`. θ, g and θ' are tensors of one shape and dtype; `state` is
            `optimizer.state[p]` (empty before the first step) without entries that are None, `state'` the state after
            the step; `group` is the entry of `optimizer.param_groups` that holds the parameter. The function must
            consist of operations that torch differentiates, must not change its arguments in place, and must return
            what `cls.step` computes, up to rounding.
        elementwise: whether each element of θ' depends only on the same element of θ, g and state. Then θ, g and
            state are passed as vectors, joined from several parameters or cut from one. Otherwise `update` is called
            once per parameter, with its shape, and a derivative costs another call with a backward pass.
        scalars: the entries of the state that are one number per parameter, such as a count of steps. They are passed
            as the optimizer holds them. All others are tensors, passed in the dtype of θ; they must have the shape of
            θ if `elementwise`.

    Raises:
        TypeError: `cls` is not an optimizer class, or `update` is neither a function nor such a class.
        UnsupportedError: `update` is a class without a rule.
    """
    if not (isinstance(cls, type) and issubclass(cls, Optimizer)):
        raise TypeError(f"register(cls, update) needs a subclass of torch.optim.Optimizer as cls; got {cls!r}")
    if isinstance(update, type):
        rule = _RULES.get(update)
        if rule is None:
            raise UnsupportedError(f"{update.__name__} has no rule that {cls.__name__} could share; {_advice()}")
        _RULES[cls] = rule
        return
    if not callable(update):
        raise TypeError(f"register(cls, update) needs a function (θ, g, state, group) -> (θ', state'); got {update!r}")
    _RULES[cls] = Rule(update, elementwise=elementwise, scalars=tuple(scalars))


def supported() -> list[str]:
    """Returns the names of the optimizers whose step can be differentiated."""
    return [cls.__name__ for cls in _RULES]


def unwrapped(optimizer: Optimizer) -> Optimizer:
    """Returns the optimizer inside wrappers of accelerate and Lightning."""
    while any(base.__name__ in _WRAPPERS for base in type(optimizer).__mro__):
        optimizer = optimizer.optimizer  # type: ignore[attr-defined]
    return optimizer


def leaves_steps_out(optimizer: Optimizer) -> bool:
    """Whether accelerate's wrapper would skip the step now: in `accelerator.accumulate`, before the last batch."""
    state = getattr(optimizer, "gradient_state", None)
    return not getattr(state, "sync_gradients", True)


def rule_for(optimizer: Optimizer) -> Rule:
    """Returns the rule of `optimizer`, of the optimizer in a wrapper, or of the class that it steps like.

    Raises:
        UnsupportedError: the message names the optimizer; there is no rule, a subclass has a `step` of its
            own, or step hooks are registered (except that of `step_count`).
    """
    optimizer = unwrapped(optimizer)
    name = type(optimizer).__name__
    rule = _RULES.get(type(optimizer)) or _rule_of(type(optimizer))
    hooks = [*optimizer._optimizer_step_pre_hooks.values(), *optimizer._optimizer_step_post_hooks.values()]
    if any(not isinstance(hook, StepCount) for hook in hooks):
        raise UnsupportedError(
            f"inner optimizer {name} has step hooks, which the update rule would not run; remove them"
        )
    return rule


def _rule_of(cls: type[Optimizer]) -> Rule:
    base = next((base for base in cls.__mro__ if base in _RULES), None)
    if cls in _WITHOUT_SLOPE:
        raise UnsupportedError(f"the step of inner optimizer {cls.__name__} {_WITHOUT_SLOPE[cls]}; {_advice()}")
    if base is None:
        raise UnsupportedError(f"the step of inner optimizer {_named(cls)} has no differentiable update; {_advice()}")
    changed = [method for method in sorted(_OWN) if _function(cls, method) is not _function(base, method)]
    if changed:
        raise UnsupportedError(
            f"inner optimizer {cls.__name__} is a subclass of {base.__name__} with its own {' and '.join(changed)}, "
            f"whose update is not known; if it steps like {base.__name__}, call "
            f"bilevel_hpo.optimizers.register({cls.__name__}, {base.__name__}); otherwise {_advice()}"
        )
    return _RULES[base]


_WITHOUT_SLOPE: dict[type[Optimizer], str] = {
    torch.optim.Rprop: "reads only the sign of the gradient, so its derivative is 0 almost everywhere",
}


def _named(cls: type[Optimizer]) -> str:
    """Returns the class name, with its module if a known optimizer has the same name."""
    if cls.__name__ not in supported():
        return cls.__name__
    return f"{cls.__module__}.{cls.__name__} (which is not {cls.__name__} of torch.optim)"


def _advice() -> str:
    return (
        "register its rule with bilevel_hpo.optimizers.register (docs/optimizers.md), use one of "
        f"{', '.join(supported())}, or hypergradient=Neumann(), which does not differentiate the step"
    )


def _function(cls: type[Optimizer], name: str) -> Any:
    """Returns the original method, without the profiler that torch wraps around `step`."""
    found = inspect.getattr_static(cls, name, None)
    while getattr(found, "__code__", None) is _PROFILER:
        found = found.__wrapped__
    return found


_PROFILER = Optimizer.profile_hook_step(lambda *_: None).__code__
