"""A script of examples/paper, called with command-line arguments."""

from collections.abc import Callable

from paper_studies.command import app_of
from typer.testing import CliRunner, Result


def script(main: Callable[..., None], *arguments: object) -> Result:
    """What came of it; an error of the script is its `exception`."""
    return CliRunner().invoke(app_of(main), [*map(str, arguments)])
