"""What estimators by double backward say about operations that can be differentiated once only."""

import contextlib
from collections.abc import Iterator

from bilevel_hpo.errors import UnsupportedError

__all__ = ["second_derivatives"]


@contextlib.contextmanager
def second_derivatives() -> Iterator[None]:
    """Turns torch's error about a missing second derivative into one that says what to do."""
    try:
        yield
    except (NotImplementedError, RuntimeError) as error:
        if "derivative for" not in str(error):
            raise
        raise UnsupportedError(
            f"train_loss uses an operation without second derivatives ({str(error).splitlines()[0]}): use "
            "FiniteDifference(), or replace it, e.g. nn.EmbeddingBag by nn.Embedding and a sum"
        ) from error
