"""Commands that are imported when they are used: the help of one needs none of the others."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

__all__ = ["lazy_group"]


def lazy_group(package: str, commands: Mapping[str, str]) -> type[TyperGroup]:
    """A group of commands; `package.NAME.app` is imported when the command NAME is called or its help is asked for.

    Args:
        package: where the modules of the commands are.
        commands: what the group's help says of each, by name.
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
