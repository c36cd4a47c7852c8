"""The command line that the scripts share: they read arguments, show progress, and print findings and errors."""

import inspect
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from bilevel_hpo import DivergedError
from bilevel_hpo.jobs import WorkersLostError
from paper_studies.analysis import Analysis, check_folder, write_analysis

__all__ = ["CORES", "OutOption", "RunArgument", "analyse", "app_of", "command_typed", "counted", "show", "start"]

CORES = os.cpu_count() or 1

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished `gate benchmark`.")]
OutOption = Annotated[
    Path, typer.Option("--out", help="Folder for the results. Earlier results of this script in it are replaced.")
]


def app_of(script: Callable[..., None]) -> typer.Typer:
    """Return the command line of a script; the docstring of `script` is its --help."""
    app = typer.Typer(add_completion=False)
    paragraphs = (inspect.getdoc(script) or "").split("\n\n")
    app.command(help="\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs))(script)
    return app


def start(script: Callable[..., None]) -> None:
    """Run `script` with the arguments of this process. An error that the user can correct is printed as one message."""
    try:
        app_of(script)()
    except (ValueError, OSError, DivergedError, WorkersLostError) as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("stopped", err=True)
        sys.exit(130)


def analyse(table: str, analysis: Callable[[Path], Analysis], run: Path, out: Path) -> None:
    """Run `analysis` on the benchmark `run`, write the result into `out`, and print the findings.

    Raises:
        RunError: `out` is not empty and holds no earlier analysis (a file `table`.csv); or `run` is not a finished
            benchmark with the methods that the analysis needs.
    """
    check_folder(out, table)
    show(out, analysis(run))


def show(out: Path, found: Analysis) -> None:
    """Write `found` into `out` and print its findings. If no PNG could be written, print why."""
    without = write_analysis(out, found)
    typer.echo(found.findings, err=True)
    if without is not None:
        typer.echo(f"no PNG: {without}", err=True)


def command_typed() -> str:
    """Return the command that started this process, for findings.json."""
    return shlex.join(["python", *sys.argv])


@contextmanager
def counted(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar of `what`, and yield a function to call with (number done, number of all)."""
    with tqdm(desc=what) as bar:

        def told(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield told
