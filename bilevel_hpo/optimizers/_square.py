"""Rules that divide g by the root of a sum or running average of its squares."""

import torch
from torch import Tensor

from bilevel_hpo.optimizers._arithmetic import average, decayed, number, plus, plus_ratio, ratio_slope, root, signed
from bilevel_hpo.optimizers._rule import Group, Rule, State

__all__ = ["ADADELTA", "ADAGRAD", "RMSPROP"]


def rmsprop(p: Tensor, g: Tensor, state: State, group: Group) -> tuple[Tensor, State]:
    """RMSprop, centered or not, with momentum (`torch.optim.RMSprop`)."""
    p, g = decayed(p, g, group)
    lr, alpha = number(group["lr"]), group["alpha"]
    second = average(state, "square_avg", g).mul(alpha).addcmul(g, g, value=1 - alpha)
    state = {**state, "step": number(state.get("step", 0)) + 1, "square_avg": second}
    if group["centered"]:
        state["grad_avg"] = mean = average(state, "grad_avg", g).lerp(g, 1 - alpha)
        second = second.addcmul(mean, mean, value=-1)
    denominator = root(second) + group["eps"]
    if group["momentum"] > 0:
        buffer = average(state, "momentum_buffer", g).mul(group["momentum"]).addcdiv(g, denominator)
        return plus(p, buffer, -lr), {**state, "momentum_buffer": buffer}
    return plus_ratio(p, g, denominator, -lr), state


def rmsprop_slope(p: Tensor, g: Tensor, state: State, group: Group) -> tuple[Tensor, Tensor]:
    """θ' and ∂θ'/∂g of `rmsprop`."""
    moved, after = rmsprop(p, g, state, group)
    _, g = decayed(p, g, group)
    lr, alpha, eps, second = number(group["lr"]), group["alpha"], group["eps"], after["square_avg"]
    if not group["centered"]:
        r = root(second)
        slope = ratio_slope(g, (None, state.get("square_avg")), (0.0, alpha), (r, eps, 1.0, r + eps), -lr)
        return moved, signed(slope, group)
    # The variance is a = α·v₀ + (1 − α)·g² − m²; without what cancels, a − (1 − α)·g·(g − m) is α·(v₀ − m·m₀).
    mean = after["grad_avg"]
    r = root(second.addcmul(mean, mean, value=-1))
    total = r + eps
    rest = average(state, "square_avg", g).addcmul(mean, average(state, "grad_avg", g), value=-1)
    rest = torch.where(r > root(torch.zeros_like(r)), rest, 0.0)
    return moved, signed(rest.mul_(-lr * alpha).div_(r).add_(-lr * eps).div_(total).div_(total), group)


def adagrad(p: Tensor, g: Tensor, state: State, group: Group) -> tuple[Tensor, State]:
    """Adagrad with learning rate decay and an initial accumulator value (`torch.optim.Adagrad`)."""
    p, g = decayed(p, g, group)
    step = number(state.get("step", 0)) + 1
    total = _accumulated(state, g, group).addcmul(g, g)
    return plus_ratio(p, g, root(total) + group["eps"], -_rate(step, group)), {**state, "step": step, "sum": total}


def adagrad_slope(p: Tensor, g: Tensor, state: State, group: Group) -> tuple[Tensor, Tensor]:
    """θ' and ∂θ'/∂g of `adagrad`: of g/(√(s + g²) + eps), which is [eps + s/√(s + g²)]/(√(s + g²) + eps)²."""
    moved, after = adagrad(p, g, state, group)
    _, g = decayed(p, g, group)
    rate, r = _rate(after["step"], group), root(after["sum"])
    total = r + group["eps"]
    slope = _accumulated(state, g, group) * -rate
    return moved, signed(slope.div_(r).add_(-rate * group["eps"]).div_(total).div_(total), group)


def _rate(step: float, group: Group) -> float:
    return number(group["lr"]) / (1 + (step - 1) * group["lr_decay"])  # type: ignore[no-any-return]


def _accumulated(state: State, g: Tensor, group: Group) -> Tensor:
    return state["sum"] if "sum" in state else torch.full_like(g, group["initial_accumulator_value"])


def adadelta(p: Tensor, g: Tensor, state: State, group: Group) -> tuple[Tensor, State]:
    """Adadelta (`torch.optim.Adadelta`)."""
    p, g = decayed(p, g, group)
    rho, eps = group["rho"], group["eps"]
    second = average(state, "square_avg", g).mul(rho).addcmul(g, g, value=1 - rho)
    moves = average(state, "acc_delta", g)
    delta = moves.add(eps).sqrt().div(second.add(eps).sqrt()).mul(g)
    state = {**state, "step": number(state.get("step", 0)) + 1, "square_avg": second}
    state["acc_delta"] = moves.mul(rho).addcmul(delta, delta, value=1 - rho)
    return plus(p, delta, -number(group["lr"])), state


def adadelta_slope(p: Tensor, g: Tensor, state: State, group: Group) -> tuple[Tensor, Tensor]:
    """θ' and ∂θ'/∂g of `adadelta`: √(d + eps)·(ρ·v₀ + eps)/(v + eps)^1.5, d and v₀ the averages before the step."""
    moved, after = adadelta(p, g, state, group)
    total = after["square_avg"] + group["eps"]
    moves = average(state, "acc_delta", g).add(group["eps"]).sqrt_().mul_(-number(group["lr"]))
    rest = average(state, "square_avg", g).mul(group["rho"]).add_(group["eps"])
    return moved, signed(moves.mul_(rest).div_(total).div_(total.sqrt()), group)


RMSPROP = Rule(rmsprop, slope=rmsprop_slope)
ADAGRAD = Rule(adagrad, slope=adagrad_slope)
ADADELTA = Rule(adadelta, slope=adadelta_slope)
