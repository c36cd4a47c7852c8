"""The part of a `Signal` that the record of a run keeps."""

from dataclasses import dataclass

__all__ = ["Verdict"]


@dataclass(frozen=True)
class Verdict:
    """The result of `learner.signal()` for one training, as plain numbers and names."""

    told: int
    """λ that can be told from chance."""
    tested: int
    p: float
    """Of all λ together."""
    level: float
    steps: int
    """Outer steps looked at."""
    more: tuple[str, ...]
    """Labels of the λ told from chance of which the training wants more; the surest first."""
    less: tuple[str, ...]
    """Those of which it wants less."""
    effective_steps: float | None = None
    """Independent outer steps; None in a record from before this was kept."""

    @property
    def anything(self) -> bool:
        """Whether a λ, or all together, can be told from chance."""
        return self.told > 0 or self.p <= self.level
