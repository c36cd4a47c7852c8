"""Differentiable steps of optimizers, equal to those of `torch.optim` to the last digits in mid-training.

Each rule is one pure function (θ, g, state, group) ↦ (θ', state') for one parameter, with the operations of
`torch.optim` in their order. `OneStep` pulls a vector back through it, `Unrolled` takes several steps with it. If
an element-wise rule has a derivative in closed form, the rule includes it. `register` adds an optimizer.
"""

from bilevel_hpo.optimizers._registry import leaves_steps_out, register, rule_for, supported, unwrapped
from bilevel_hpo.optimizers._rule import Group, Rule, State, UpdateFunction
from bilevel_hpo.optimizers._step_count import StepCount, step_count

__all__ = [
    "Group",
    "Rule",
    "State",
    "StepCount",
    "UpdateFunction",
    "leaves_steps_out",
    "register",
    "rule_for",
    "step_count",
    "supported",
    "unwrapped",
]
