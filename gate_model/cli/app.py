"""The command `gate`: build data, learn the transfer ratios λ, search them, compare, predict and report."""

import sys

import typer

from gate_model.cli._console import console
from gate_model.cli._lazy import lazy_group

__all__ = ["COMMANDS", "app", "main"]

COMMANDS = {
    "learn": "Train GATE and learn λ during the training. The run folder holds a model for `gate predict`.",
    "grid": "Search symmetric λ on a grid: one training for each point, to compare with learned λ.",
    "tpe": "Search symmetric λ with Optuna's TPE sampler: one training for each trial.",
    "compare": "Compare learned λ with constant λ, a grid search and TPE on the same data, splits, seeds and epochs.",
    "benchmark": "Compare learned λ with many alternatives on the same splits and seeds; write a leaderboard.",
    "predict": "Predict every task for the molecules of a CSV, with ±σ, in the tasks' own units; flag unfamiliar "
    "molecules.",
    "report": "Write the page report.html again from the files of a run folder.",
    "data": "Build, describe and write the property table.",
    "experiment": "Repeat Figure 1 of the paper.",
}
"""The line that `gate --help` prints for each command. A test compares it with the command's own help."""

app = typer.Typer(
    help="Predict molecular properties with GATE, and learn how much each property may teach another.",
    cls=lazy_group("gate_model.cli", COMMANDS),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog="Start with:  [bold]gate compare --tasks DS,HV,BP --at-least 3 --out runs/demo[/bold]",
)


@app.callback()
def _gate() -> None:
    """Make `gate` a group of commands; each command has its own module."""


def main() -> None:
    """Run the command line. An error that the user can correct is printed as one message, without a traceback."""
    try:
        app(standalone_mode=True)
    except _expected() as error:
        console.print("[bold red]error:[/bold red]", end=" ")
        console.print(str(error), markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        console.print("stopped; the same command with --resume continues from here")
        sys.exit(130)


def _expected() -> tuple[type[Exception], ...]:
    """Return the types of errors that a user can cause. The engine's are included only if it has been imported."""
    expected: tuple[type[Exception], ...] = (ValueError, TypeError, OSError)
    if "bilevel_hpo.jobs" not in sys.modules:
        return expected
    from bilevel_hpo import DivergedError, NonFiniteError  # noqa: PLC0415
    from bilevel_hpo.jobs import WorkersLostError  # noqa: PLC0415

    return *expected, DivergedError, NonFiniteError, WorkersLostError
