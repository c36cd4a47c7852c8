"""Where `gate` says what it does: standard error, so that output can be piped."""

from rich.console import Console

__all__ = ["console"]

console = Console(stderr=True)
