"""Learn λ while a Lightning Trainer trains θ: `BilevelCallback`. Needs the extra `lightning`."""

try:
    import lightning.pytorch  # noqa: F401
except ImportError as error:
    raise ImportError("bilevel_hpo.lightning needs Lightning: pip install 'bilevel-hpo[lightning]'") from error

from bilevel_hpo.lightning._callback import BilevelCallback

__all__ = ["BilevelCallback"]
