"""The accuracy of one hypergradient."""

from dataclasses import dataclass

__all__ = ["Certificate"]


@dataclass(frozen=True)
class Certificate:
    """An estimator's statement about the rounding error of the hypergradient that it returned."""

    error: float
    """The estimated error relative to ‖g‖; NaN if it was not checked."""
    computed_in: str
    """"float32", "float64", …"""
    certified: bool
    """Whether the error is within the estimator's tolerance, or the estimator has no check."""
    reason: str = ""
    """The reason why it could not be computed more precisely."""
