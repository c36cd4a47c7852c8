"""One step of the inner optimizer as a function of the gradient, and the pull-back of a vector through it."""

import torch
from torch import Tensor

from bilevel_hpo.optimizers import State, rule_for
from bilevel_hpo.problem import BilevelProblem, Params

__all__ = ["pull_back", "step"]


def step(problem: BilevelProblem, params: Params, gradients: Params) -> Params:
    """θ' = θ + U(g) by the optimizer's rule and present state; a parameter without gradient stays.

    The results are leaves that require grad.
    """
    moved = dict(params)
    with torch.no_grad():
        for name, p, state, group in _groups(problem, params):
            if name in gradients:
                moved[name], _ = rule_for(problem.optimizer)(p, gradients[name], state, group)
    return {name: p.detach().requires_grad_() for name, p in moved.items()}


def pull_back(problem: BilevelProblem, params: Params, gradients: Params, cotangents: Params) -> Params:
    """u = (∂U/∂g)ᵀ v for every name in `cotangents`."""
    u: Params = {}
    for name, p, state, group in _groups(problem, params):
        if name in cotangents:
            g = gradients[name].detach().requires_grad_()
            moved, _ = rule_for(problem.optimizer)(p.detach(), g, state, group)
            (u[name],) = torch.autograd.grad(moved, g, cotangents[name])
    return u


def _groups(problem: BilevelProblem, params: Params) -> list[tuple[str, Tensor, State, dict[str, object]]]:
    names = {id(p): name for name, p in problem.model.named_parameters()}
    optimizer = problem.optimizer
    return [
        (names[id(p)], params[names[id(p)]], dict(optimizer.state.get(p, {})), group)
        for group in optimizer.param_groups
        for p in group["params"]
        if p.requires_grad
    ]
