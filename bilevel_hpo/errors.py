"""What the engine raises, and warns of."""

__all__ = ["DivergedError", "NonFiniteError", "NonFiniteWarning", "UncertifiedWarning", "UnsupportedError"]


class UnsupportedError(TypeError):
    """An optimizer, module or loss that an estimator cannot handle; the message says what to use instead."""


class DivergedError(ArithmeticError):
    """A training came to numbers that are not finite; a comparison notes it and goes on without its scores."""


class NonFiniteError(ArithmeticError):
    """Too many hypergradients in a row were not finite; the message names the batches of the last."""


class NonFiniteWarning(RuntimeWarning):
    """A hypergradient was not finite and was left out; the message names the batches."""


class UncertifiedWarning(RuntimeWarning):
    """A hypergradient was used although its rounding could not be shown to be small, not even in float64."""
