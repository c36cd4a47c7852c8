"""The learner: steps on θ and λ in one training, their schedule, and their history."""

from bilevel_hpo.learner._active import ActiveSet
from bilevel_hpo.learner._history import Epoch, OuterStep
from bilevel_hpo.learner._learner import BilevelLearner
from bilevel_hpo.learner._loop import repeated
from bilevel_hpo.learner._weights import Weights

__all__ = ["ActiveSet", "BilevelLearner", "Epoch", "OuterStep", "Weights", "repeated"]
