"""The console for messages: standard error, so that standard output can be piped."""

from rich.console import Console

__all__ = ["console"]

console = Console(stderr=True)
