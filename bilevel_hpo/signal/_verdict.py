"""The part of a `Signal` that the record of a run keeps."""

from dataclasses import dataclass

__all__ = ["Verdict"]


@dataclass(frozen=True)
class Verdict:
    """The result of `learner.signal()` for one training, as plain numbers and names."""

    told: int
    """The number of λ that can be told from chance."""
    tested: int
    p: float
    """The p of all λ together."""
    level: float
    steps: int
    """The number of outer steps in the window."""
    more: tuple[str, ...]
    """Labels of the λ told from chance that should be larger, the most certain first."""
    less: tuple[str, ...]
    """Labels of those that should be smaller."""
    effective_steps: float | None = None
    """Independent outer steps; None in a record from before this was kept."""

    @property
    def anything(self) -> bool:
        """Whether a λ, or all together, can be told from chance."""
        return self.told > 0 or self.p <= self.level
