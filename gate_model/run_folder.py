"""The versions of the packages behind a result of GATE, for the files of a run."""

from bilevel_hpo.run_folder import versions as engine_versions

__all__ = ["PACKAGES", "versions"]

PACKAGES = ("rdkit", "chemicals", "safetensors")
"""The packages that a result depends on besides the engine and its dependencies."""


def versions() -> dict[str, str]:
    """Return versions by name: those of the engine and its dependencies, of `PACKAGES` and of Python."""
    return engine_versions(PACKAGES)
