"""Differentiable updates of `torch.optim` optimizers, equal to them to the last digits in mid-training.

Each rule is one pure function (θ, g, state, group) ↦ (θ', state') for one parameter, with the operations of
`torch.optim` in their order. `OneStep` pulls a vector back through it, and `higher` unrolls it: `higher` 0.2.1
has no AdamW, puts Adam's eps outside the bias correction and ignores `maximize`, so the classes built here from
the rules are registered with it in place of its own.
"""

from collections.abc import Callable
from typing import Any

import higher.optim
import torch
from torch import Tensor

from bilevel_hpo.errors import UnsupportedError

__all__ = ["SCALARS", "State", "UpdateRule", "rule_for", "supported"]

State = dict[str, Any]
SCALARS = ("step", "mu_product")
"""Entries of an optimizer's state that are one number per parameter; all others have the parameter's shape."""

UpdateRule = Callable[[Tensor, Tensor, State, dict[str, Any]], tuple[Tensor, State]]


def sgd(p: Tensor, g: Tensor, state: State, group: dict[str, Any]) -> tuple[Tensor, State]:
    """SGD with momentum, dampening, Nesterov, weight decay and maximize (`torch.optim.SGD`)."""
    g = -g if group["maximize"] else g
    if group["weight_decay"] != 0:
        g = g.add(p, alpha=group["weight_decay"])
    if group["momentum"] != 0:
        buffer = state.get("momentum_buffer")
        buffer = g if buffer is None else buffer.mul(group["momentum"]).add(g, alpha=1 - group["dampening"])
        state = {**state, "momentum_buffer": buffer}
        g = g.add(buffer, alpha=group["momentum"]) if group["nesterov"] else buffer
    return p.add(g, alpha=-_number(group["lr"])), state


def adam(p: Tensor, g: Tensor, state: State, group: dict[str, Any]) -> tuple[Tensor, State]:
    """Adam and AdamW with amsgrad and maximize (`torch.optim.Adam`, `torch.optim.AdamW`)."""
    beta1, beta2 = (_number(beta) for beta in group["betas"])
    lr, decay = _number(group["lr"]), group["weight_decay"]
    g = -g if group["maximize"] else g
    step = _number(state.get("step", 0)) + 1
    if decay != 0:
        if group["decoupled_weight_decay"]:
            p = p.mul(1 - lr * decay)
        else:
            g = g.add(p, alpha=decay)
    exp_avg = state.get("exp_avg", torch.zeros_like(g)).lerp(g, 1 - beta1)
    exp_avg_sq = state.get("exp_avg_sq", torch.zeros_like(g)).mul(beta2).addcmul(g, g, value=1 - beta2)
    state = {**state, "step": step, "exp_avg": exp_avg, "exp_avg_sq": exp_avg_sq}
    second = exp_avg_sq
    if group["amsgrad"]:
        second = torch.maximum(state.get("max_exp_avg_sq", torch.zeros_like(g)), exp_avg_sq)
        state["max_exp_avg_sq"] = second
    denominator = _sqrt(second) / (1 - beta2**step) ** 0.5 + group["eps"]
    return p.addcdiv(exp_avg, denominator, value=-lr / (1 - beta1**step)), state


_RULES: dict[type[torch.optim.Optimizer], UpdateRule] = {
    torch.optim.SGD: sgd,
    torch.optim.Adam: adam,
    torch.optim.AdamW: adam,
}


def supported() -> list[str]:
    """Names of the optimizers whose step can be differentiated."""
    return [cls.__name__ for cls in _RULES]


def rule_for(optimizer: torch.optim.Optimizer) -> UpdateRule:
    """The update rule of `optimizer`; UnsupportedError, by name, where there is none.

    The type must match exactly: a subclass may step differently (AdamW is a subclass of Adam).
    """
    rule = _RULES.get(type(optimizer))
    name = type(optimizer).__name__
    if rule is None:
        raise UnsupportedError(
            f"the step of inner optimizer {name} has no differentiable update here; use one of "
            f"{', '.join(supported())}, or hypergradient=Direct(), which does not differentiate the step"
        )
    hooks = [*optimizer._optimizer_step_pre_hooks, *optimizer._optimizer_step_post_hooks]
    if hooks:
        raise UnsupportedError(
            f"inner optimizer {name} has step hooks, which the update rule would not run; remove them"
        )
    return rule


def _number(value: Any) -> float:
    return value.item() if isinstance(value, Tensor) else value


def _sqrt(x: Tensor) -> Tensor:
    """√x with derivative 0 at x = 0, where all past gradients are 0 and so is the product it stands in."""
    zero = x == 0
    return torch.where(zero, 0.0, torch.where(zero, 1.0, x).sqrt())


def _differentiable(rule: UpdateRule) -> type[higher.optim.DifferentiableOptimizer]:
    class Differentiable(higher.optim.DifferentiableOptimizer):  # type: ignore[misc]
        def _update(self, grouped_grads: list[list[Tensor | None]], **_: object) -> None:
            for group_index, (group, grads) in enumerate(zip(self.param_groups, grouped_grads, strict=True)):
                for index, g in enumerate(grads):
                    if g is not None:
                        states = self.state[group_index]
                        group["params"][index], states[index] = rule(group["params"][index], g, states[index], group)

    Differentiable.__name__ = Differentiable.__qualname__ = f"Differentiable_{rule.__name__}"
    return Differentiable


for _optimizer, _rule in _RULES.items():
    higher.register_optim(_optimizer, _differentiable(_rule))
