"""SGD and its averaged form, both linear in g."""

import torch
from torch import Tensor

from bilevel_hpo.optimizers._arithmetic import Number, average, decayed, number, plus
from bilevel_hpo.optimizers._rule import Group, Rule, State

__all__ = ["ASGD", "SGD"]


def sgd(p: Tensor, g: Tensor, state: State, group: Group) -> tuple[Tensor, State]:
    """SGD with momentum, dampening and Nesterov (`torch.optim.SGD`)."""
    p, g = decayed(p, g, group)
    momentum = number(group["momentum"])
    if momentum != 0:
        buffer = state.get("momentum_buffer")
        buffer = g if buffer is None else buffer.mul(momentum).add(g, alpha=1 - group["dampening"])
        state = {**state, "momentum_buffer": buffer}
        g = g.add(buffer, alpha=momentum) if group["nesterov"] else buffer
    return plus(p, g, -number(group["lr"])), state


def asgd(p: Tensor, g: Tensor, state: State, group: Group) -> tuple[Tensor, State]:
    """Averaged SGD (`torch.optim.ASGD`); θ itself, not the average, is what the model holds."""
    p, g = decayed(p, g, group)
    step, lr = number(state.get("step", 0)) + 1, number(group["lr"])
    eta, mu = (number(state["eta"]), number(state["mu"])) if state else (_rounded(lr), 1.0)
    mean = average(state, "ax", p)
    moved = plus(p.mul(1 - group["lambd"] * eta), g, -eta)
    mean = moved if mu == 1 else mean.add(moved.sub(mean).mul(mu))
    eta = _rounded(lr / ((1 + group["lambd"] * lr * step) ** group["alpha"]))
    mu = _rounded(1 / max(1, step - group["t0"]))
    return moved, {**state, "step": step, "eta": eta, "mu": mu, "ax": mean}


def _rounded(x: Number) -> Number:
    """`x` in torch's default dtype, in which the optimizer holds it."""
    return x if isinstance(x, Tensor) else torch.as_tensor(x, dtype=torch.get_default_dtype()).item()


SGD = Rule(sgd, scalars=(), linear=True)
ASGD = Rule(asgd, scalars=("step", "eta", "mu"), linear=True)
