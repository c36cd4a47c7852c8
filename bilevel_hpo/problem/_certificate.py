"""The accuracy of one hypergradient."""

from dataclasses import dataclass

__all__ = ["Certificate"]


@dataclass(frozen=True)
class Certificate:
    """An estimator's statement about the rounding error of the hypergradient that it returned."""

    error: float
    """Estimated error relative to ‖g‖; NaN where it was not checked."""
    computed_in: str
    """"float32", "float64", …"""
    certified: bool
    """The error is within the estimator's tolerance, or the estimator has no check."""
    reason: str = ""
    """Why it could not be computed more precisely."""
