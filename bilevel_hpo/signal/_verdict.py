"""What is kept of a `Signal` in the record of a run."""

from dataclasses import dataclass

__all__ = ["Verdict"]


@dataclass(frozen=True)
class Verdict:
    """What `learner.signal()` says of one training; plain numbers and names."""

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
        """A λ can be told from chance, or all together can."""
        return self.told > 0 or self.p <= self.level
