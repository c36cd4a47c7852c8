"""Rules for whole parameters: every element of θ' depends on all elements of g."""

import torch
from torch import Tensor

from bilevel_hpo.optimizers._arithmetic import Number, average, number, plus
from bilevel_hpo.optimizers._rule import Group, Rule, State

__all__ = ["ADAFACTOR", "MUON"]


def muon(p: Tensor, g: Tensor, state: State, group: Group) -> tuple[Tensor, State]:
    """Muon (`torch.optim.Muon`), for matrices.

    torch orthogonalizes in bfloat16. θ' has its rounding; the derivative is that of the iteration without rounding.
    """
    momentum = group["momentum"]
    buffer = average(state, "momentum_buffer", g).lerp(g, 1 - momentum)
    update = g.lerp(buffer, momentum) if group["nesterov"] else buffer
    exact = _orthogonal(update, group)
    rounded = _orthogonal(update.detach().bfloat16(), group)
    update = exact + (rounded - exact.detach()) if exact.requires_grad else rounded.to(p.dtype)
    rows, columns = p.shape
    scale = (
        0.2 * max(rows, columns) ** 0.5 if group["adjust_lr_fn"] == "match_rms_adamw" else max(1, rows / columns) ** 0.5
    )
    lr = number(group["lr"])
    p = plus(p.mul(1 - lr * number(group["weight_decay"])), update, -lr * scale)
    return p, {**state, "momentum_buffer": buffer}


def _orthogonal(x: Tensor, group: Group) -> Tensor:
    """Newton and Schulz's iteration towards the nearest matrix with singular values of about 1."""
    a, b, c = group["ns_coefficients"]
    tall = x.size(0) > x.size(1)
    x = x.T if tall else x
    x = x / x.norm().clamp(min=group["eps"])
    for _ in range(group["ns_steps"]):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x


def adafactor(p: Tensor, g: Tensor, state: State, group: Group) -> tuple[Tensor, State]:
    """Adafactor (`torch.optim.Adafactor`): the variance of a matrix from its rows' and its columns' means."""
    g = -g if group["maximize"] else g
    eps1, eps2 = group["eps"]
    eps1 = torch.finfo(p.dtype).eps if eps1 is None else eps1
    step, lr = number(state.get("step", 0)) + 1, number(group["lr"])
    weight = step ** group["beta2_decay"]
    size = p.norm(2) / p.numel() ** 0.5
    rate = torch.clamp(size, min=eps2) * _smaller(lr, 1 / step**0.5)
    p = p.mul(1 - lr * number(group["weight_decay"]))
    state = {**state, "step": step}
    if g.dim() > 1:
        rows = _mean_square(g, -1)
        columns = _mean_square(g, -2)
        state["row_var"] = rows = average(state, "row_var", rows).lerp(rows, weight)
        state["col_var"] = columns = average(state, "col_var", columns).lerp(columns, weight)
        variance = (rows @ columns) / rows.mean(dim=-2, keepdim=True).clamp(min=eps1)
    else:
        state["variance"] = variance = average(state, "variance", g).lerp(g * g, weight)
    update = variance.clamp(min=eps1 * eps1).rsqrt() * g
    denominator = torch.clamp(update.norm(2) / (update.numel() ** 0.5 * group["d"]), min=1.0)
    return p - update * (rate / denominator), state


def _mean_square(g: Tensor, dim: int) -> Tensor:
    size: Tensor = torch.norm(g, dim=dim, keepdim=True)
    return size.square() / g.size(dim)


def _smaller(lr: Number, limit: float) -> Number:
    return lr.clamp(max=limit) if isinstance(lr, Tensor) else min(lr, limit)


MUON = Rule(muon, elementwise=False, scalars=())
ADAFACTOR = Rule(adafactor, elementwise=False)
