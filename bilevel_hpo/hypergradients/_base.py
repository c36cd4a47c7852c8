"""The base class of every estimator: (θ, λ, train batch, val batch) ↦ dL_val/dλ."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor

from bilevel_hpo.problem import BilevelProblem

__all__ = ["Hypergradient"]


class Hypergradient(ABC):
    """An estimator of the hypergradient: (θ, λ, train batch, val batch) ↦ dL_val/dλ, with λ and dL_val/dλ vectors
    `[N]`.

    It reads θ, the optimizer's state, buffers and the random number generator, and leaves all of them unchanged.
    """

    steps: int = 1
    """The number of inner steps that it looks ahead, and of train batches that it uses at once."""

    references: tuple[str, ...] = ()
    """The BibTeX entries of the method's sources; `learner.citation()` prints them."""

    @abstractmethod
    def __call__(self, problem: BilevelProblem, lambda_: Tensor, train_batch: Any, val_batch: Any) -> Tensor:
        """Returns dL_val/dλ at `lambda_`, a detached vector `[N]`."""

    @abstractmethod
    def check(self, problem: BilevelProblem) -> None:
        """Raises UnsupportedError, before training, for an optimizer or model that this estimator cannot handle."""
