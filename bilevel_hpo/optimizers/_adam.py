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


def adam_slope(p: Tensor, g: Tensor, state: State, group: Group) -> tuple[Tensor, Tensor]:
    """θ' and ∂θ'/∂g of `adam`."""
    p, g = decayed(p, g, group)
    after, correction1, correction2 = _moments(g, state, group)
    betas, factor, scale, eps = group["betas"], -number(group["lr"]) / correction1, correction2**0.5, group["eps"]
    averages = state.get("exp_avg"), state.get("exp_avg_sq")
    r = root(after["exp_avg_sq"]).div_(scale)
    total = r + eps
    slope = ratio_slope(g, averages, betas, (r, eps, scale, total), factor)
    if group["amsgrad"]:
        largest = average(state, "max_exp_avg_sq", g)
        with_largest = root(largest).div_(scale).add_(eps)
        is_larger = largest > after["exp_avg_sq"]
        slope = torch.where(is_larger, factor * (1 - number(betas[0])) / with_largest, slope)
        total = torch.where(is_larger, with_largest, total)
    return p.addcdiv(after["exp_avg"], total, value=factor), signed(slope, group)


def nadam(p: Tensor, g: Tensor, state: State, group: Group) -> tuple[Tensor, State]:
    """NAdam and NAdamW (`torch.optim.NAdam`)."""
    p, g = decayed(p, g, group)
    state, _, correction2 = _moments(g, state, group)
    of_g, of_average, state["mu_product"] = _nadam_factors(state, group)
    denominator = root(state["exp_avg_sq"].div(correction2)) + group["eps"]
    p = plus_ratio(p, g, denominator, of_g)
    return plus_ratio(p, state["exp_avg"], denominator, of_average), state


def nadam_slope(p: Tensor, g: Tensor, state: State, group: Group) -> tuple[Tensor, Tensor]:
    """θ' and ∂θ'/∂g of `nadam`."""
    p, g = decayed(p, g, group)
    after, _, correction2 = _moments(g, state, group)
    of_g, of_average, _ = _nadam_factors(after, group)
    betas, eps, m0, v0 = group["betas"], group["eps"], state.get("exp_avg"), state.get("exp_avg_sq")
    r = root(after["exp_avg_sq"].div(correction2))
    denominator = r, eps, correction2**0.5, r + eps
    slope = ratio_slope(g, (None, v0), (0.0, betas[1]), denominator, of_g)
    slope.add_(ratio_slope(g, (m0, v0), betas, denominator, of_average))
    moved = p.addcdiv(g, denominator[3], value=of_g).addcdiv_(after["exp_avg"], denominator[3], value=of_average)
    return moved, signed(slope, group)


def _nadam_factors(state: State, group: Group) -> tuple[float, float, Tensor]:
    """Returns the factors of g/D and m/D, and the product of all μ; `state` has the new step and the old product."""
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


def radam_slope(p: Tensor, g: Tensor, state: State, group: Group) -> tuple[Tensor, Tensor]:
    """θ' and ∂θ'/∂g of `radam`."""
    moved, after = radam(p, g, state, group)
    _, g = decayed(p, g, group)
    correction1, correction2 = _corrections(after, group)
    factor, rectification = -number(group["lr"]) / correction1, _rectification(after, group)
    if rectification is None:
        return moved, signed(torch.full_like(g, factor * (1 - number(group["betas"][0]))), group)
    r = root(after["exp_avg_sq"])
    denominator = r, group["eps"], 1.0, r + group["eps"]
    averages = state.get("exp_avg"), state.get("exp_avg_sq")
    slope = ratio_slope(g, averages, group["betas"], denominator, factor * correction2**0.5 * rectification)
    return moved, signed(slope, group)


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


def adamax_slope(p: Tensor, g: Tensor, state: State, group: Group) -> tuple[Tensor, Tensor]:
    """θ' and ∂θ'/∂g of `adamax`: of m/(|g| + eps) where |g| is a new maximum, of m/constant elsewhere."""
    moved, after = adamax(p, g, state, group)
    _, g = decayed(p, g, group)
    beta1, beta2 = (number(beta) for beta in group["betas"])
    factor = -number(group["lr"]) / (1 - beta1 ** after["step"])
    largest, constant = after["exp_inf"], factor * (1 - beta1)
    # d/dg of m/(|g| + eps) is [(1 − β₁)·eps − β₁·m₀·sign(g)]/(|g| + eps)²
    new = (average(state, "exp_avg", g) * g.sign()).mul_(-factor * beta1).add_(constant * group["eps"])
    is_new = g.abs().add_(group["eps"]) > average(state, "exp_inf", g) * beta2
    return moved, signed(torch.where(is_new, new.div_(largest), constant).div_(largest), group)


def _moments(g: Tensor, state: State, group: Group) -> tuple[State, float, float]:
    """The state with both running averages a step on, and their bias corrections 1 − βᵗ."""
    beta1, beta2 = (number(beta) for beta in group["betas"])
    exp_avg = average(state, "exp_avg", g).lerp(g, 1 - beta1)
    exp_avg_sq = average(state, "exp_avg_sq", g).mul(beta2).addcmul(g, g, value=1 - beta2)
    state = {**state, "step": number(state.get("step", 0)) + 1, "exp_avg": exp_avg, "exp_avg_sq": exp_avg_sq}
    return state, *_corrections(state, group)


def _corrections(after: State, group: Group) -> tuple[float, float]:
    """The bias corrections 1 − βᵗ of a state after the step."""
    beta1, beta2 = (number(beta) for beta in group["betas"])
    return 1 - beta1 ** after["step"], 1 - beta2 ** after["step"]


ADAM = Rule(adam, slope=adam_slope)
NADAM = Rule(nadam, slope=nadam_slope, scalars=("step", "mu_product"))
RADAM = Rule(radam, slope=radam_slope)
ADAMAX = Rule(adamax, slope=adamax_slope)
