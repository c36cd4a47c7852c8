"""Adam and its relatives, with two running averages: of g and of its square or size."""

import torch
from torch import Tensor

from bilevel_hpo.optimizers._arithmetic import average, decayed, number, plus_ratio, ratio_slope, root, signed
from bilevel_hpo.optimizers._rule import Group, Rule, State

__all__ = ["ADAM", "ADAMAX", "NADAM", "RADAM"]


def adam(p: Tensor, g: Tensor, state: State, group: Group) -> tuple[Tensor, State]:
    """Adam and AdamW with amsgrad (`torch.optim.Adam`, `torch.optim.AdamW`)."""
    p, g = decayed(p, g, group)
    state, correction1, correction2 = _moments(g, state, group)
    second = state["exp_avg_sq"]
    if group["amsgrad"]:
        state["max_exp_avg_sq"] = second = torch.maximum(average(state, "max_exp_avg_sq", g), second)
    denominator = root(second) / correction2**0.5 + group["eps"]
    return plus_ratio(p, state["exp_avg"], denominator, -number(group["lr"]) / correction1), state


def adam_slope(p: Tensor, g: Tensor, before: State, after: State, group: Group) -> Tensor:
    """∂θ'/∂g of `adam`."""
    _, g = decayed(p, g, group)
    betas, correction1, correction2 = _corrections(after, group)
    factor = -number(group["lr"]) / correction1
    r = root(after["exp_avg_sq"]).div_(correction2**0.5)
    slope = ratio_slope(
        g, (before.get("exp_avg"), before.get("exp_avg_sq")), betas, (r, group["eps"], correction2**0.5), factor
    )
    if group["amsgrad"]:
        largest = after["max_exp_avg_sq"]
        constant = factor * (1 - betas[0]) / (root(largest) / correction2**0.5 + group["eps"])
        slope = torch.where(largest > after["exp_avg_sq"], constant, slope)
    return signed(slope, group)


def nadam(p: Tensor, g: Tensor, state: State, group: Group) -> tuple[Tensor, State]:
    """NAdam and NAdamW (`torch.optim.NAdam`)."""
    p, g = decayed(p, g, group)
    state, _, correction2 = _moments(g, state, group)
    of_g, of_average, state["mu_product"] = _nadam_factors(state, group)
    denominator = root(state["exp_avg_sq"].div(correction2)) + group["eps"]
    p = plus_ratio(p, g, denominator, of_g)
    return plus_ratio(p, state["exp_avg"], denominator, of_average), state


def nadam_slope(p: Tensor, g: Tensor, before: State, after: State, group: Group) -> Tensor:
    """∂θ'/∂g of `nadam`."""
    _, g = decayed(p, g, group)
    betas, _, correction2 = _corrections(after, group)
    of_g, of_average, _ = _nadam_factors({**before, "step": after["step"]}, group)
    m0, v0 = before.get("exp_avg"), before.get("exp_avg_sq")
    denominator = root(after["exp_avg_sq"].div(correction2)), group["eps"], correction2**0.5
    slope = ratio_slope(g, (None, v0), (0.0, betas[1]), denominator, of_g)
    return signed(slope.add_(ratio_slope(g, (m0, v0), betas, denominator, of_average)), group)


def _nadam_factors(state: State, group: Group) -> tuple[float, float, Tensor]:
    """What g/D and m/D are multiplied by, and the product of all μ; `state` has the new step and the old product."""
    lr, step, beta1 = number(group["lr"]), state["step"], number(group["betas"][0])
    mu, mu_next = (beta1 * (1.0 - 0.5 * 0.96 ** (t * group["momentum_decay"])) for t in (step, step + 1))
    product = state.get("mu_product", torch.ones(())) * mu  # a tensor: torch rounds it to its dtype
    return -lr * (1.0 - mu) / (1.0 - product.item()), -lr * mu_next / (1.0 - product.item() * mu_next), product


def radam(p: Tensor, g: Tensor, state: State, group: Group) -> tuple[Tensor, State]:
    """RAdam, with coupled or decoupled weight decay (`torch.optim.RAdam`)."""
    p, g = decayed(p, g, group)
    state, correction1, correction2 = _moments(g, state, group)
    update = state["exp_avg"] / correction1 * number(group["lr"])
    rectification = _rectification(state, group)
    if rectification is not None:
        update = update * (correction2**0.5 / (root(state["exp_avg_sq"]) + group["eps"])) * rectification
    return p - update, state


def radam_slope(p: Tensor, g: Tensor, before: State, after: State, group: Group) -> Tensor:
    """∂θ'/∂g of `radam`."""
    _, g = decayed(p, g, group)
    betas, correction1, correction2 = _corrections(after, group)
    factor = -number(group["lr"]) / correction1
    rectification = _rectification(after, group)
    if rectification is None:
        return signed(torch.full_like(g, factor * (1 - betas[0])), group)
    slope = ratio_slope(
        g,
        (before.get("exp_avg"), before.get("exp_avg_sq")),
        betas,
        (root(after["exp_avg_sq"]), group["eps"], 1.0),
        factor * correction2**0.5 * rectification,
    )
    return signed(slope, group)


def _rectification(state: State, group: Group) -> float | None:
    """r_t of the RAdam paper; None while the variance of the adaptive step is not bounded (ρ_t <= 5)."""
    step, beta2 = state["step"], number(group["betas"][1])
    rho_inf = 2 / (1 - beta2) - 1
    rho = rho_inf - 2 * step * beta2**step / (1 - beta2**step)
    if rho <= 5.0:
        return None
    return float(((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho)) ** 0.5)


def adamax(p: Tensor, g: Tensor, state: State, group: Group) -> tuple[Tensor, State]:
    """Adamax (`torch.optim.Adamax`)."""
    p, g = decayed(p, g, group)
    beta1, beta2 = (number(beta) for beta in group["betas"])
    step = number(state.get("step", 0)) + 1
    mean = average(state, "exp_avg", g).lerp(g, 1 - beta1)
    largest = torch.maximum(average(state, "exp_inf", g).mul(beta2), g.abs().add(group["eps"]))
    moved = plus_ratio(p, mean, largest, -number(group["lr"]) / (1 - beta1**step))
    return moved, {**state, "step": step, "exp_avg": mean, "exp_inf": largest}


def adamax_slope(p: Tensor, g: Tensor, before: State, after: State, group: Group) -> Tensor:
    """∂θ'/∂g of `adamax`: of m/(|g| + eps) where |g| is a new maximum, of m/constant elsewhere."""
    _, g = decayed(p, g, group)
    beta1, beta2 = (number(beta) for beta in group["betas"])
    factor = -number(group["lr"]) / (1 - beta1 ** after["step"])
    largest, constant = after["exp_inf"], factor * (1 - beta1)
    # d/dg of m/(|g| + eps) is [(1 − β₁)·eps − β₁·m₀·sign(g)]/(|g| + eps)²
    new = (average(before, "exp_avg", g) * g.sign()).mul_(-factor * beta1).add_(constant * group["eps"])
    is_new = g.abs().add_(group["eps"]) > average(before, "exp_inf", g) * beta2
    return signed(torch.where(is_new, new.div_(largest), constant).div_(largest), group)


def _moments(g: Tensor, state: State, group: Group) -> tuple[State, float, float]:
    """The state with both running averages a step on, and their bias corrections 1 − βᵗ."""
    beta1, beta2 = (number(beta) for beta in group["betas"])
    exp_avg = average(state, "exp_avg", g).lerp(g, 1 - beta1)
    exp_avg_sq = average(state, "exp_avg_sq", g).mul(beta2).addcmul(g, g, value=1 - beta2)
    state = {**state, "step": number(state.get("step", 0)) + 1, "exp_avg": exp_avg, "exp_avg_sq": exp_avg_sq}
    _, correction1, correction2 = _corrections(state, group)
    return state, correction1, correction2


def _corrections(after: State, group: Group) -> tuple[tuple[float, float], float, float]:
    """β₁ and β₂, and the bias corrections 1 − βᵗ of a state after the step."""
    beta1, beta2 = (number(beta) for beta in group["betas"])
    return (beta1, beta2), 1 - beta1 ** after["step"], 1 - beta2 ** after["step"]


ADAM = Rule(adam, slope=adam_slope)
NADAM = Rule(nadam, slope=nadam_slope, scalars=("step", "mu_product"))
RADAM = Rule(radam, slope=radam_slope)
ADAMAX = Rule(adamax, slope=adamax_slope)
