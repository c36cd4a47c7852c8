"""The errors and warnings of the engine."""

__all__ = ["DivergedError", "NonFiniteError", "NonFiniteWarning", "UncertifiedWarning", "UnsupportedError"]


class UnsupportedError(TypeError):
    """Raised for an optimizer, module or loss that an estimator cannot handle; the message says what to use instead."""


class DivergedError(ArithmeticError):
    """Raised when a training gives non-finite numbers; a comparison records it and continues without its scores."""


class NonFiniteError(ArithmeticError):
    """Raised when too many outer steps in a row were skipped (see `NonFiniteWarning`); names the last batches."""


class NonFiniteWarning(RuntimeWarning):
    """Issued when a hypergradient, a loss or the new λ is not finite: λ stays unchanged; names the batches."""


class UncertifiedWarning(RuntimeWarning):
    """Issued when a hypergradient is used whose rounding error could not be shown to be small, even in float64."""
