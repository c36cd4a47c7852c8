"""The bi-level problem as pure functions of θ and λ, for any kind of model, and the parts of its inner step."""

from bilevel_hpo.problem._attributes import kept_attributes
from bilevel_hpo.problem._certificate import Certificate
from bilevel_hpo.problem._clipping import ClipNorm, Clipped, Clipping, ClipValue
from bilevel_hpo.problem._composed import Composed
from bilevel_hpo.problem._graph import custom_functions, once_differentiable_functions
from bilevel_hpo.problem._inner_settings import SettingsOf
from bilevel_hpo.problem._problem import BilevelProblem, Loss, Params, checked_scalar, eval_mode
from bilevel_hpo.problem._structure import Lambda, Structure

__all__ = [
    "BilevelProblem",
    "Certificate",
    "ClipNorm",
    "ClipValue",
    "Clipped",
    "Clipping",
    "Composed",
    "Lambda",
    "Loss",
    "Params",
    "SettingsOf",
    "Structure",
    "checked_scalar",
    "custom_functions",
    "eval_mode",
    "kept_attributes",
    "once_differentiable_functions",
]
