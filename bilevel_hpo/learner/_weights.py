"""The interface of a λ module."""

from typing import Any, Protocol

from bilevel_hpo.problem import Lambda

__all__ = ["Weights"]


class Weights(Protocol):
    """The interface of `weights`: any `nn.Module` whose call returns λ.

    It may have `labels`, the names of the entries of λ in the columns of the history, and `project_()`, which moves the
    parameters back into their constraint, in place, and is called after every outer step. docs/extending.md has an
    example.
    """

    def __call__(self) -> Lambda:
        """Returns λ, a function of the module's parameters."""

    def state_dict(self) -> dict[str, Any]:
        """As of `nn.Module`."""

    def load_state_dict(self, state_dict: Any) -> Any:
        """As of `nn.Module`."""
