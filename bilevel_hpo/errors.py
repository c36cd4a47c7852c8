"""What the engine raises before any training starts."""

__all__ = ["UnsupportedError"]


class UnsupportedError(TypeError):
    """An optimizer, module or loss that an estimator cannot handle; the message says what to use instead."""
