"""The progress bar of the commands."""

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from gate_model.cli._console import console

__all__ = ["progress_bar"]


def progress_bar() -> Progress:
    """Return a bar with the name of what is counted, the count, the total, the time passed and the time left."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console)
