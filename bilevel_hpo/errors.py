"""What the engine raises, and warns of."""

__all__ = ["NonFiniteError", "NonFiniteWarning", "UnsupportedError"]


class UnsupportedError(TypeError):
    """An optimizer, module or loss that an estimator cannot handle; the message says what to use instead."""


class NonFiniteError(ArithmeticError):
    """Too many hypergradients in a row were not finite; the message names the batches of the last."""


class NonFiniteWarning(RuntimeWarning):
    """A hypergradient was not finite and was left out; the message names the batches."""
