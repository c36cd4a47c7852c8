"""Versions behind a result of GATE."""

from bilevel_hpo.run_folder import versions as of_engine

__all__ = ["PACKAGES", "versions"]

PACKAGES = ("rdkit", "chemicals", "safetensors")
"""What a result depends on beside the engine."""


def versions() -> dict[str, str]:
    """Of the engine, of `PACKAGES`, and of Python."""
    return of_engine(PACKAGES)
