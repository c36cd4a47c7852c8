"""Errors about operations that can be differentiated only once, for estimators by double backward."""

import contextlib
from collections.abc import Iterator

from torch import Tensor

from bilevel_hpo.errors import UnsupportedError
from bilevel_hpo.problem import once_differentiable_functions

__all__ = ["NoSecondDerivativeError", "refuse_once_differentiable", "second_derivatives"]

_ADVICE = (
    "use OneStep() with its check or FiniteDifference(), which need none, or replace it, e.g. nn.EmbeddingBag by "
    "nn.Embedding and a sum"
)


class NoSecondDerivativeError(UnsupportedError):
    """Raised for an L_train that can be differentiated only once."""


@contextlib.contextmanager
def second_derivatives() -> Iterator[None]:
    """Turns torch's error about a missing second derivative into one that says what to do."""
    try:
        yield
    except (NotImplementedError, RuntimeError) as error:
        if not any(words in str(error) for words in ("derivative for", "differentiate twice")):
            raise
        raise NoSecondDerivativeError(
            f"train_loss uses an operation without second derivatives ({str(error).splitlines()[0]}): {_ADVICE}"
        ) from error


def refuse_once_differentiable(loss: Tensor) -> None:
    """Raises NoSecondDerivativeError with the functions in the graph of L_train whose backward is marked so. torch
    itself usually gives no error, and leaves their part out."""
    names = once_differentiable_functions(loss)
    if names:
        raise NoSecondDerivativeError(
            f"train_loss uses a torch.autograd.Function without second derivatives ({', '.join(names)}, whose backward "
            f"is marked once_differentiable): {_ADVICE}"
        )
