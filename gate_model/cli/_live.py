"""The progress of a training in one line of the terminal."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from gate_model.training.progress import SMALL_LAMBDA, EpochReport, Progress

__all__ = ["describe", "live_training"]


def describe(report: EpochReport) -> str:
    """Return a line with the selection RMSE, λ in units of the direct path, and the learning rate."""
    return (
        f"RMSE {report.selection:.3f} · "
        f"λ {report.lambda_mean:.2f} ({report.lambda_min:.2f} to {report.lambda_max:.2f}, "
        f"{report.lambda_small:.0%} below {SMALL_LAMBDA:g}) · lr {report.lr:.1e}"
    )


@contextmanager
def live_training(console: Console, epochs: int, title: str = "epochs") -> Iterator[Progress]:
    """Show the line, and yield the function to pass to `train(progress=...)`."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[state]}", markup=False),
    )
    with Bar(*columns, console=console) as bar:
        task = bar.add_task(title, total=epochs, state="")
        yield lambda report: bar.update(task, completed=report.epoch, state=describe(report))
