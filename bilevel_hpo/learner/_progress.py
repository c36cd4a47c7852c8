"""The progress line that `fit` shows on a terminal."""

import sys
from types import TracebackType
from typing import TYPE_CHECKING

import torch
from torch import distributed

from bilevel_hpo.problem import Structure

if TYPE_CHECKING:
    from bilevel_hpo.learner._learner import BilevelLearner

__all__ = ["Display"]

FEW = 4
"""The largest number of λ that are shown one by one."""
SECONDS = 0.5
"""The seconds between two updates; the losses are read from the device only for these."""


class Display:
    """A progress bar over the inner steps with epoch, losses, outer steps and λ, on stderr.

    Args:
        wanted: whether to show it; None shows it on the first rank only, and only if stderr is a terminal.
        learner: the learner whose state is shown.
        steps: the number of inner steps per epoch, the length of the bar; None if unknown.
        epochs: the total number of epochs.
    """

    def __init__(self, wanted: bool | None, learner: "BilevelLearner", steps: int | None, epochs: int) -> None:
        self._learner, self._epochs, self._bar = learner, epochs, None
        shown = (sys.stderr.isatty() and _first_rank()) if wanted is None else wanted
        if shown and epochs > learner.epoch:
            from tqdm import tqdm  # noqa: PLC0415  only where something is shown

            total = None if steps is None else steps * (epochs - learner.epoch)
            self._bar = tqdm(
                desc=self._epoch(), total=total, unit="step", mininterval=SECONDS, dynamic_ncols=True, file=sys.stderr
            )

    def step(self) -> None:
        """Shows that an inner step was taken."""
        if self._bar is not None and self._bar.update():
            self._bar.set_postfix_str(self._facts(), refresh=False)

    def epoch(self) -> None:
        """Shows that an epoch has ended."""
        if self._bar is not None:
            self._bar.set_description_str(self._epoch(), refresh=False)

    def __enter__(self) -> "Display":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bar is not None:
            if kind is None:
                self._bar.set_postfix_str(self._facts(), refresh=False)
            self._bar.close()

    def _epoch(self) -> str:
        return f"epoch {min(self._learner.epoch + 1, self._epochs)}/{self._epochs}"

    @torch.no_grad()
    def _facts(self) -> str:
        learner = self._learner
        said = [] if learner.last_loss is None else [f"train {float(learner.last_loss):.4g}"]
        if learner.last_outer_step is not None:
            said.append(f"val {learner.last_outer_step.val_loss:.4g}")
        said.append(f"{learner.outer_steps} outer steps")
        if learner.skipped:
            said.append(f"{learner.skipped} skipped")
        lambda_ = torch.cat([part.flatten() for part in Structure.parts(learner.weights())]).tolist()
        if len(lambda_) <= FEW:
            said += [f"λ {label}={value:.3g}" for label, value in zip(learner.labels, lambda_, strict=True)]
        else:
            said.append(f"{len(lambda_)} λ from {min(lambda_):.3g} to {max(lambda_):.3g}")
        return ", ".join(said)


def _first_rank() -> bool:
    return not (distributed.is_available() and distributed.is_initialized() and distributed.get_rank() > 0)
