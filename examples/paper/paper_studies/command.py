"""What the scripts do alike on the command line: read their arguments, show progress, print findings and errors."""

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

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a finished `gate benchmark`.")]
OutOption = Annotated[Path, typer.Option("--out", help="Folder for the results; earlier ones are replaced.")]


def app_of(script: Callable[..., None]) -> typer.Typer:
    """The command line of a script; the docstring of `script` is its --help."""
    app = typer.Typer(add_completion=False)
    paragraphs = (inspect.getdoc(script) or "").split("\n\n")
    app.command(help="\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs))(script)
    return app


def start(script: Callable[..., None]) -> None:
    """Run `script` with the arguments of this process. An error that the user can mend is one message, no traceback."""
    try:
        app_of(script)()
    except (ValueError, OSError, DivergedError, WorkersLostError) as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("stopped", err=True)
        sys.exit(130)


def analyse(table: str, analysis: Callable[[Path], Analysis], run: Path, out: Path) -> None:
    """Write what `analysis` finds in the benchmark `run` into `out`, and print it.

    Raises:
        RunError: `out` holds something else than an earlier analysis, which has a file `table`.csv; or `run` is not a
            finished benchmark with the methods that the analysis needs.
    """
    check_folder(out, table)
    show(out, analysis(run))


def show(out: Path, found: Analysis) -> None:
    """Write `found` into `out` and print its findings; where no PNG could be written, print why."""
    without = write_analysis(out, found)
    typer.echo(found.findings, err=True)
    if without is not None:
        typer.echo(f"no PNG: {without}", err=True)


def command_typed() -> str:
    """The command that started this process, to be written into findings.json."""
    return shlex.join(["python", *sys.argv])


@contextmanager
def counted(what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar of `what`; yields the function that is told how many are done, and of how many."""
    with tqdm(desc=what) as bar:

        def told(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield told
