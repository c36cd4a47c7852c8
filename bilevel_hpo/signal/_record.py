"""The record of the test on the hypergradients of one training."""

from dataclasses import dataclass
from typing import Literal

import pandas as pd

from bilevel_hpo.signal._conclusion import conclusion

__all__ = ["Signal"]


@dataclass(frozen=True, eq=False)
class Signal:
    """The result of testing the hypergradients of a training against chance; `str(...)` gives it in words."""

    table: pd.DataFrame
    """One row per λ, indexed by its label:

    - `steps`: the start of the training with the smallest p for this λ, as a number of outer steps in the window.
    - `mean`: the mean over these steps of the gradient that moves λ; negative if L_val asks for a larger λ.
    - `standard_error`: the standard error of that mean.
    - `n_effective`: the number of independent outer steps with this standard error; at most `steps`.
    - `t`: mean / standard error.
    - `p`: the p of "the mean is 0", corrected for the starts tested; `p_adjusted`: also for the number of λ tested.
    - `told`: whether `p_adjusted` is at most `level`.
    - `at_bound`: whether λ ended at a bound of its constraint and the mean pushes it outwards.
    - `tested`: False if the gradient was 0 in every step, as for a λ that is not learned or not used.
    """
    p: float
    """The p of "the mean of the gradients of all λ is 0"; 1.0 if none was tested."""
    steps: int
    """The number of outer steps in the window."""
    steps_that_say_most: int
    """The start, in outer steps, with the smallest p for all λ together."""
    effective_steps: float
    """The number of independent outer steps in that start: the harmonic mean over the λ tested."""
    left_out: int
    """The number of outer steps in the window that were skipped or not finite."""
    level: float
    """The level of the verdicts."""
    correction: Literal["holm", "bh"]
    """The correction in `p_adjusted`."""
    validation_batches: int | None
    """The number of different validation batches, if the noise between them is counted."""
    constrained: bool
    """Whether the gradient is the one after the chain rule of the constraint; otherwise it is g in λ itself."""

    @property
    def tested(self) -> int:
        """The number of λ tested."""
        return int(self.table["tested"].sum())

    @property
    def told(self) -> int:
        """The number of λ that can be told from chance."""
        return int(self.table["told"].sum())

    @property
    def labels(self) -> list[str]:
        """The λ that can be told from chance, the most certain first."""
        return [str(label) for label in self.table[self.table["told"]].sort_values("p", kind="stable").index]

    @property
    def anything(self) -> bool:
        """Whether there is something to learn: a λ, or all together, can be told from chance."""
        return self.told > 0 or self.p <= self.level

    @property
    def conclusion(self) -> str:
        """The conclusion in one or two sentences: which λ can be told from chance, or whether constant λ would do as
        well. The latter needs at least 8 independent outer steps."""
        if self.tested == 0:
            return f"No λ had a gradient in {self.steps} outer steps: the validation loss does not feel them."
        means = self.table["mean"]
        told = [f"{label} ({'more' if float(means[label]) < 0 else 'less'})" for label in self.labels]
        return conclusion(told, self.anything, self.effective_steps)

    def __str__(self) -> str:
        """Returns three to six lines."""
        if self.tested == 0:
            return self.conclusion
        name = {"holm": "Holm", "bh": "Benjamini-Hochberg"}[self.correction]
        lines = [
            f"{self.told} of {self.tested} λ can be told from chance ({name}, {100 * self.level:g} %); "
            f"all together: p {_p(self.p)}.",
            f"{self._steps()}, worth {self.effective_steps:.0f} independent ones; {self._noise()}.",
        ]
        lines.append(self.conclusion)
        resting = int((self.table["told"] & self.table["at_bound"]).sum())
        if resting:
            lines.append(f"{resting} of them ended at a bound, which holds them there.")
        untested, out = len(self.table) - self.tested, self.left_out
        if untested or out:
            counts = {"λ without a gradient": untested, "outer steps that are not finite": out}
            lines.append("Left out: " + ", ".join(f"{n} {what}" for what, n in counts.items() if n) + ".")
        return "\n".join(lines)

    def _steps(self) -> str:
        if self.steps_that_say_most == self.steps:
            return f"{self.steps} outer steps"
        return f"The first {self.steps_that_say_most} of {self.steps} outer steps say most"

    def _noise(self) -> str:
        if self.validation_batches is None:
            return "noise of the batches along the training, not of the choice of a fixed validation set"
        return f"noise along the training and between {self.validation_batches} validation batches"


def _p(p: float) -> str:
    return "< .001" if p < 0.001 else f"= {p:.2g}".replace("0.", ".", 1)
