"""Differentiable updates of `torch.optim` optimizers, equal to them to the last digits in mid-training.

Each rule is one pure function (θ, g, state, group) ↦ (θ', state') for one parameter, with the operations of
`torch.optim` in their order. `OneStep` pulls a vector back through it, and `higher` unrolls it: `higher` 0.2.1
has no AdamW, NAdam or RAdam, puts Adam's eps outside the bias correction and ignores `maximize`, so the classes
built here from the rules are registered with it in place of its own.
"""

from collections.abc import Callable
from typing import Any

import higher.optim
import torch
from torch import Tensor

from bilevel_hpo.errors import UnsupportedError

__all__ = ["LINEAR", "SCALARS", "State", "UpdateRule", "rule_for", "supported"]

State = dict[str, Any]
SCALARS = ("step", "mu_product")
"""Entries of an optimizer's state that are one number per parameter; all others have the parameter's shape."""

UpdateRule = Callable[[Tensor, Tensor, State, dict[str, Any]], tuple[Tensor, State]]


def sgd(p: Tensor, g: Tensor, state: State, group: dict[str, Any]) -> tuple[Tensor, State]:
    """SGD with momentum, dampening and Nesterov (`torch.optim.SGD`)."""
    p, g = _decayed(p, g, group)
    if group["momentum"] != 0:
        buffer = state.get("momentum_buffer")
        buffer = g if buffer is None else buffer.mul(group["momentum"]).add(g, alpha=1 - group["dampening"])
        state = {**state, "momentum_buffer": buffer}
        g = g.add(buffer, alpha=group["momentum"]) if group["nesterov"] else buffer
    return p.add(g, alpha=-_number(group["lr"])), state


def adam(p: Tensor, g: Tensor, state: State, group: dict[str, Any]) -> tuple[Tensor, State]:
    """Adam and AdamW with amsgrad (`torch.optim.Adam`, `torch.optim.AdamW`)."""
    p, g = _decayed(p, g, group)
    state, correction1, correction2 = _moments(g, state, group)
    second = state["exp_avg_sq"]
    if group["amsgrad"]:
        second = torch.maximum(state.get("max_exp_avg_sq", torch.zeros_like(g)), second)
        state["max_exp_avg_sq"] = second
    denominator = _sqrt(second) / correction2**0.5 + group["eps"]
    return p.addcdiv(state["exp_avg"], denominator, value=-_number(group["lr"]) / correction1), state


def nadam(p: Tensor, g: Tensor, state: State, group: dict[str, Any]) -> tuple[Tensor, State]:
    """NAdam and NAdamW (`torch.optim.NAdam`)."""
    p, g = _decayed(p, g, group)
    state, _, correction2 = _moments(g, state, group)
    lr, step = _number(group["lr"]), state["step"]
    mu, mu_next = (
        _number(group["betas"][0]) * (1.0 - 0.5 * 0.96 ** (t * group["momentum_decay"])) for t in (step, step + 1)
    )
    state["mu_product"] = state.get("mu_product", torch.ones(())) * mu  # a tensor: torch rounds it to its dtype
    product = _number(state["mu_product"])
    denominator = _sqrt(state["exp_avg_sq"].div(correction2)) + group["eps"]
    p = p.addcdiv(g, denominator, value=-lr * (1.0 - mu) / (1.0 - product))
    return p.addcdiv(state["exp_avg"], denominator, value=-lr * mu_next / (1.0 - product * mu_next)), state


def radam(p: Tensor, g: Tensor, state: State, group: dict[str, Any]) -> tuple[Tensor, State]:
    """RAdam, with coupled or decoupled weight decay (`torch.optim.RAdam`)."""
    p, g = _decayed(p, g, group)
    state, correction1, correction2 = _moments(g, state, group)
    step, beta2 = state["step"], _number(group["betas"][1])
    update = state["exp_avg"] / correction1 * _number(group["lr"])
    rho_inf = 2 / (1 - beta2) - 1
    rho = rho_inf - 2 * step * beta2**step / correction2
    if rho > 5.0:
        rectification = ((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho)) ** 0.5
        update = update * (correction2**0.5 / (_sqrt(state["exp_avg_sq"]) + group["eps"])) * rectification
    return p - update, state


def rmsprop(p: Tensor, g: Tensor, state: State, group: dict[str, Any]) -> tuple[Tensor, State]:
    """RMSprop, centered or not, with momentum (`torch.optim.RMSprop`)."""
    p, g = _decayed(p, g, group)
    lr, alpha, zeros = _number(group["lr"]), group["alpha"], torch.zeros_like(g)
    second = state.get("square_avg", zeros).mul(alpha).addcmul(g, g, value=1 - alpha)
    state = {**state, "step": _number(state.get("step", 0)) + 1, "square_avg": second}
    if group["centered"]:
        state["grad_avg"] = mean = state.get("grad_avg", zeros).lerp(g, 1 - alpha)
        second = second.addcmul(mean, mean, value=-1)
    denominator = _sqrt(second) + group["eps"]
    if group["momentum"] > 0:
        state["momentum_buffer"] = state.get("momentum_buffer", zeros).mul(group["momentum"]).addcdiv(g, denominator)
        return p.add(state["momentum_buffer"], alpha=-lr), state
    return p.addcdiv(g, denominator, value=-lr), state


def adagrad(p: Tensor, g: Tensor, state: State, group: dict[str, Any]) -> tuple[Tensor, State]:
    """Adagrad with learning rate decay and an initial accumulator value (`torch.optim.Adagrad`)."""
    p, g = _decayed(p, g, group)
    step = _number(state.get("step", 0)) + 1
    total = state.get("sum", torch.full_like(g, group["initial_accumulator_value"])).addcmul(g, g)
    lr = _number(group["lr"]) / (1 + (step - 1) * group["lr_decay"])
    return p.addcdiv(g, _sqrt(total) + group["eps"], value=-lr), {**state, "step": step, "sum": total}


_RULES: dict[type[torch.optim.Optimizer], UpdateRule] = {
    torch.optim.SGD: sgd,
    torch.optim.Adam: adam,
    torch.optim.AdamW: adam,
    torch.optim.NAdam: nadam,
    torch.optim.RAdam: radam,
    torch.optim.RMSprop: rmsprop,
    torch.optim.Adagrad: adagrad,
}

LINEAR: frozenset[UpdateRule] = frozenset({sgd})
"""Rules with the same slope ∂θ'/∂g in every element of θ."""


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


def _decayed(p: Tensor, g: Tensor, group: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """θ and g after maximize and weight decay, decoupled (of θ) or not (in g)."""
    g = -g if group["maximize"] else g
    decay = group["weight_decay"]
    if decay == 0:
        return p, g
    if group.get("decoupled_weight_decay", False):
        return p.mul(1 - _number(group["lr"]) * decay), g
    return p, g.add(p, alpha=decay)


def _moments(g: Tensor, state: State, group: dict[str, Any]) -> tuple[State, float, float]:
    """The state with both of Adam's running averages a step on, and their bias corrections 1 − βᵗ."""
    beta1, beta2 = (_number(beta) for beta in group["betas"])
    step = _number(state.get("step", 0)) + 1
    exp_avg = state.get("exp_avg", torch.zeros_like(g)).lerp(g, 1 - beta1)
    exp_avg_sq = state.get("exp_avg_sq", torch.zeros_like(g)).mul(beta2).addcmul(g, g, value=1 - beta2)
    state = {**state, "step": step, "exp_avg": exp_avg, "exp_avg_sq": exp_avg_sq}
    return state, 1 - beta1**step, 1 - beta2**step


def _sqrt(x: Tensor) -> Tensor:
    """√x for x >= 0, with derivative 0 at x = 0, where all past gradients are 0 and so is the product it stands in."""
    return x.clamp_min(torch.finfo(x.dtype).tiny).sqrt()


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
