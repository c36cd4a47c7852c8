"""Former commands of `gate experiment` that are scripts now. For one release, each prints what to run instead."""

import shlex

import typer

__all__ = ["add_moved"]

_SCRIPTS = {
    "table-1": "table_1.py",
    "table-2": "table_2.py",
    "figure-3": "figure_3.py",
    "discussion": "discussion.py",
    "stability": "stability.py",
    "removal": "removal.py",
}
"""Scripts by the name of the command; they are in examples/paper of the repository, not in the wheel."""


def add_moved(app: typer.Typer) -> None:
    """Add the former commands to `gate experiment`, hidden from its help. They accept any arguments."""
    every = {"allow_extra_args": True, "ignore_unknown_options": True}
    for name in _SCRIPTS:
        app.command(name, hidden=True, add_help_option=False, context_settings=every)(_say_where)


def _say_where(context: typer.Context) -> None:
    name = str(context.info_name)
    command = shlex.join(["python", f"examples/paper/{_SCRIPTS[name]}", *context.args])
    typer.echo(f"`gate experiment {name}` is a script of the repository now. From the repository's root run:", err=True)
    typer.echo(command, err=True)
    raise typer.Exit(2)
