"""What the learner asks of a λ module."""

from typing import Any, Protocol

from bilevel_hpo.problem import Lambda

__all__ = ["Weights"]


class Weights(Protocol):
    """What the learner asks of `weights`: a module whose call gives λ; any `nn.Module` whose call does is one.

    It may have `labels`, names of the entries of λ, for the columns of the history; and `project_()`, which moves the
    parameters back into their constraint, in place, and is called after every outer step. docs/extending.md has an
    example.
    """

    def __call__(self) -> Lambda:
        """λ, a function of the module's parameters."""

    def state_dict(self) -> dict[str, Any]:
        """As of `nn.Module`."""

    def load_state_dict(self, state_dict: Any) -> Any:
        """As of `nn.Module`."""
