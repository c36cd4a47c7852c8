"""The command `gate`: build data, learn λ, search it, compare, predict, report."""

import sys

import typer

from gate_model.cli._console import console
from gate_model.cli._lazy import lazy_group

__all__ = ["COMMANDS", "app", "main"]

COMMANDS = {
    "learn": "Train GATE and learn λ on the way; leave a model that `gate predict` can use.",
    "grid": "Search symmetric λ on a grid; the rival that learned λ has to beat.",
    "tpe": "Search symmetric λ with Optuna's TPE, one training a trial.",
    "compare": "Learned λ, constant λ, grid and TPE side by side: same data, splits, seeds and epochs; one report.",
    "benchmark": "Learned λ and what one could do instead, side by side: the leaderboard.",
    "predict": "Predict every task for the molecules of a CSV, with ±σ, in the tasks' own units; flag unfamiliar "
    "molecules.",
    "report": "Write report.html anew from the files of a run folder.",
    "data": "Build, describe and write the property table.",
    "experiment": "Repeat Figure 1 of the paper.",
}
"""What `gate --help` says of each; a test holds it against the command's own help."""

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
    """Every command has its own module."""


def main() -> None:
    """Entry point: problems of the user's making are one message, not a traceback."""
    try:
        app(standalone_mode=True)
    except _expected() as error:
        console.print("[bold red]error:[/bold red]", end=" ")
        console.print(str(error), markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        console.print("stopped; the same command with --resume goes on from here")
        sys.exit(130)


def _expected() -> tuple[type[Exception], ...]:
    """Errors that a user can cause. Those of the engine are asked for only if a command has imported it."""
    expected: tuple[type[Exception], ...] = (ValueError, TypeError, OSError)
    if "bilevel_hpo.jobs" not in sys.modules:
        return expected
    from bilevel_hpo import DivergedError, NonFiniteError  # noqa: PLC0415
    from bilevel_hpo.jobs import WorkersLostError  # noqa: PLC0415

    return *expected, DivergedError, NonFiniteError, WorkersLostError
