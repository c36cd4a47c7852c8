"""What the engine raises, and warns of."""

__all__ = ["DivergedError", "NonFiniteError", "NonFiniteWarning", "UncertifiedWarning", "UnsupportedError"]


class UnsupportedError(TypeError):
    """An optimizer, module or loss that an estimator cannot handle; the message says what to use instead."""


class DivergedError(ArithmeticError):
    """A training came to numbers that are not finite; a comparison notes it and goes on without its scores."""


class NonFiniteError(ArithmeticError):
    """Too many outer steps in a row were left out, see `NonFiniteWarning`; the message names the last one's batches."""


class NonFiniteWarning(RuntimeWarning):
    """A hypergradient, a loss or the new λ was not finite, and λ stays as it is; the message names the batches."""


class UncertifiedWarning(RuntimeWarning):
    """A hypergradient was used although its rounding could not be shown to be small, not even in float64."""
