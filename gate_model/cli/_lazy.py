"""Commands that are imported when they are used, so that the help of one does not import the others."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

__all__ = ["lazy_group"]


def lazy_group(package: str, commands: Mapping[str, str]) -> type[TyperGroup]:
    """Return a class of command groups that imports `package.NAME.app` when the command NAME or its help is called.

    Args:
        package: the package that holds one module for each command.
        commands: the line of each command in the group's help, by name.
    """

    class Lazy(TyperGroup):
        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            self.commands = {name: TyperCommand(name, help=words) for name, words in commands.items()}

        def resolve_command(self, ctx: Any, args: list[str]) -> Any:
            if args and args[0] in commands:
                app: typer.Typer = import_module(f"{package}.{args[0]}").app
                self.commands[args[0]] = command = typer.main.get_command(app)
                command.name = args[0]
            return super().resolve_command(ctx, args)

    return Lazy
