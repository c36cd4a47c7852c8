"""Test whether there is anything to learn: whether the hypergradients of a training exceed the noise of its batches."""

from bilevel_hpo.signal._conclusion import conclusion
from bilevel_hpo.signal._raw_gradient import raw_gradient
from bilevel_hpo.signal._record import Signal
from bilevel_hpo.signal._signal import MIN_STEPS, signal
from bilevel_hpo.signal._verdict import Verdict

__all__ = ["MIN_STEPS", "Signal", "Verdict", "conclusion", "raw_gradient", "signal"]
