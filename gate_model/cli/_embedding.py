"""An embedding that the user wrote, named on the command line as `--embedding module:function`."""

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

__all__ = ["embedding_name", "import_named"]


def embedding_name(text: str) -> str:
    """Return the name of a registered embedding.

    For a text `module:function` the module is imported first, which registers the function.

    Raises:
        ValueError: no embedding has this name, there is no such module, or the function is not registered.
    """
    from gate_model.model.embeddings import embedding_named, names  # noqa: PLC0415

    if ":" not in text:
        embedding_named(text)
        return text
    module, _, function = text.partition(":")
    build = getattr(import_named(module), function, None)
    for name in names():
        if build is not None and embedding_named(name).build is build:
            return name
    raise ValueError(
        f"--embedding {text}: {function!r} of this module must be a function that is decorated with "
        "gate_model.register_embedding"
    )


def import_named(module: str) -> ModuleType:
    """Import a module that the user names. It may be in the folder in which the command was called.

    Raises:
        ValueError: there is no such module.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise ValueError(f"--embedding {module}: {error}") from error
