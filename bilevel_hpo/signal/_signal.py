"""Make a `Signal` from the history of a training."""

from collections.abc import Callable
from functools import partial
from typing import Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bilevel_hpo.signal._judge import Judged, judged
from bilevel_hpo.signal._raw_gradient import bounds, knows, raw_gradient
from bilevel_hpo.signal._record import Signal
from bilevel_hpo.signal._statistics import Array, adjusted

__all__ = ["MIN_STEPS", "signal"]

MIN_STEPS = 8
"""The fewest finite outer steps that `signal` judges."""
ROUNDING = 1e-13
"""A gradient below this part of the largest g of its step is what the cancellation in a chain rule leaves of 0."""


def signal(
    history: pd.DataFrame,
    weights: nn.Module | None = None,
    *,
    chain: Callable[[Tensor, Tensor], Tensor] | None = None,
    level: float = 0.05,
    correction: Literal["holm", "bh"] = "holm",
    window: tuple[float, float] = (0.0, 1.0),
    validation_batches: int | None = None,
) -> Signal:
    """Tests whether the hypergradients of a training exceed the noise of its batches, for each λ and for all together.

    Null hypothesis of a λ: the mean of its gradient is 0 over the outer steps in the window, over their first half,
    first quarter, and so on down to 20 (where λ has been learned, the mean is 0 from then on). The gradient is the
    one that
    moves λ: dL_val/dλ after the chain rule of its constraint. Under a `Budget` that is how much more useful a loss is
    than the others. For a free λ (`Positive`, `Box`) it is also whether a longer inner step would help, which is
    not usefulness: a verdict is about usefulness only under a `Budget`.

    The standard error includes dependence between the outer steps, and a drift of the mean
    (`_statistics.coefficients`: equal-weighted cosine, Student's t with about n^(2/3)/2 degrees of freedom). All λ
    together are judged by a rotation test, for any number of λ, and by the smallest p. What the whole and its starts
    say is combined by Simes' rule. Do not use it to rank λ: a small p means a certain sign, not a large effect. Noise
    that lasts for a tenth of the training or longer looks like a mean (docs/signal.md has the measured false alarms).

    Args:
        history: `learner.history`: columns `lambda:<label>`, `g:<label>`, `outer_step` and `skipped`, a row per outer
            step.
        weights: the λ module of the learner, for the chain rule and the bounds of its constraint: `LossWeights`,
            `TransferRatios`, `WeightsDict`, or a module with `raw` and `constraint` like them. For other modules, and
            by default, g is tested in λ itself.
        chain: for a module of your own, a function from (λ `[n, N]`, g `[n, N]`) to the gradient that moves λ, `[n,
            N]`; it replaces the chain rule of `weights`.
        level: the significance level of the verdicts, between 0 and 1.
        correction: "holm" (the chance of any false alarm among all λ) or "bh" (the share of false alarms among those
            told).
        window: the part of the training to use, as shares of the history: (0.5, 1.0) is its second half.
        validation_batches: the number V of different validation batches, if the outer steps go through the same V
            in turn, as under `fit` with a list or a loader that does not shuffle. Then the noise of the validation set
            counts too: the means of the V batches are compared, and the larger p of both tests is given. Without it,
            verdicts hold for this validation set; the noise of a single fixed validation batch cannot be seen in g.

    Returns:
        The record; `print` it.

    Raises:
        ValueError: an argument is out of range; the frame has no λ, or lacks the g of a λ; fewer than `MIN_STEPS`
            rows in the window are finite; `chain` returned another shape or non-finite values.
    """
    _check(level, correction, window, validation_batches)
    labels = _labels(history)
    first, last = (round(share * len(history)) for share in window)
    rows = history.iloc[first:last]
    lambda_, g = (_floats(rows[[f"{kind}:{label}" for label in labels]]) for kind in ("lambda", "g"))
    good = np.isfinite(lambda_).all(1) & np.isfinite(g).all(1)
    if "skipped" in rows:
        good &= ~rows["skipped"].to_numpy(dtype=bool)
    lambda_, g = lambda_[good], g[good]
    if len(g) < MIN_STEPS:
        raise ValueError(
            f"history has {len(g)} finite outer steps in window={window}; there must be at least {MIN_STEPS}"
        )
    if weights is not None and not knows(weights):
        weights = None
    if chain is None and weights is not None:
        chain = partial(raw_gradient, weights)
    x = g.astype(np.float64) if chain is None else _moved(chain, lambda_, g)
    cluster = None
    if validation_batches is not None and len(x) > validation_batches:
        cluster = (rows["outer_step"].to_numpy(dtype=np.int64)[good] - 1) % validation_batches
    tested: NDArray[np.bool_] = np.asarray(x.any(0))
    found = judged(x[:, tested], cluster) if tested.any() else None
    table = _table([label for label, seen in zip(labels, tested.tolist(), strict=True) if seen], found, labels, len(x))
    table["p_adjusted"] = 1.0
    table.loc[tested, "p_adjusted"] = adjusted(table["p"].to_numpy()[tested], correction)
    table["told"] = np.asarray(tested & (table["p_adjusted"].to_numpy() <= level))
    table["at_bound"] = _at_bound(weights, lambda_[-1], table["mean"].to_numpy())
    table["tested"] = tested
    return Signal(
        table=table,
        p=1.0 if found is None else found.p,
        steps=len(x),
        steps_that_say_most=len(x) if found is None else found.steps,
        effective_steps=float(len(x)) if found is None else found.effective_steps,
        left_out=int((~good).sum()),
        level=level,
        correction=correction,
        validation_batches=validation_batches,
        constrained=chain is not None,
    )


def _table(tested: list[str], found: Judged | None, labels: list[str], steps: int) -> pd.DataFrame:
    """Returns the results for the λ tested, and zeros for the others."""
    index = pd.Index(labels, name="lambda")
    nothing = {"steps": steps, "mean": 0.0, "standard_error": 0.0, "n_effective": float(steps), "t": 0.0, "p": 1.0}
    table = pd.DataFrame(nothing, index=index)
    if found is not None:
        table.loc[tested] = found.table.set_axis(tested)
    return table


def _moved(chain: Callable[[Tensor, Tensor], Tensor], lambda_: Array, g: Array) -> Array:
    """Returns the gradient after the chain rule, `[n, N]` in float64."""
    moved = chain(torch.from_numpy(lambda_), torch.from_numpy(g)).detach()
    if moved.shape != g.shape:
        raise ValueError(f"chain gave shape {tuple(moved.shape)}; it must be that of λ and g, {g.shape}")
    x = moved.double().cpu().numpy().copy()
    if not np.isfinite(x).all():
        raise ValueError(f"chain gave {int((~np.isfinite(x)).sum())} values that are not finite")
    x[np.abs(x) <= ROUNDING * np.abs(g).max(1, keepdims=True)] = 0.0
    return np.asarray(x)


def _at_bound(weights: nn.Module | None, lambda_: Array, mean: Array) -> NDArray[np.bool_]:
    """Whether λ `[N]` lies at a bound that descent along `mean` would cross."""
    if weights is None:
        return np.zeros(len(mean), dtype=bool)
    low, high = (end.numpy().astype(lambda_.dtype) for end in bounds(weights))
    return ((lambda_ <= low) & (mean > 0)) | ((lambda_ >= high) & (mean < 0))


def _labels(history: pd.DataFrame) -> list[str]:
    """Returns the labels of the λ in a frame of `learner.history`."""
    labels = [str(c).removeprefix("lambda:") for c in history.columns if str(c).startswith("lambda:")]
    missing = [label for label in labels if f"g:{label}" not in history.columns]
    if not labels:
        raise ValueError(
            f"history has the columns {[str(c) for c in history.columns[:12]]}; it must be `learner.history` after at "
            "least one outer step, with columns `lambda:<label>` and `g:<label>`"
        )
    if missing:
        raise ValueError(f"history has no column `g:<label>` for {missing[:5]}; every λ must have one")
    return labels


def _floats(frame: pd.DataFrame) -> Array:
    """Returns the values `[n, N]` in the dtype of the training, float32 or float64."""
    values = frame.to_numpy(copy=True)
    return values if values.dtype in (np.float32, np.float64) else values.astype(np.float64)


def _check(level: float, correction: str, window: tuple[float, float], validation_batches: int | None) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level must be a number between 0 and 1, such as 0.05; got {level}")
    if correction not in ("holm", "bh"):
        raise ValueError(f"correction must be 'holm' or 'bh'; got {correction!r}")
    if not 0 <= window[0] < window[1] <= 1:
        raise ValueError(f"window must be two shares of the history, 0 <= first < last <= 1; got {window}")
    if validation_batches is not None and validation_batches < 2:
        raise ValueError(
            f"validation_batches must be at least 2; got {validation_batches}. With one fixed validation batch "
            "its noise is the same in every outer step, and cannot be seen"
        )
