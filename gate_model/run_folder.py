"""The versions behind a result of GATE, for the files of a run."""

from bilevel_hpo.run_folder import versions as engine_versions

__all__ = ["PACKAGES", "versions"]

PACKAGES = ("rdkit", "chemicals", "safetensors")
"""What a result depends on beside the engine."""


def versions() -> dict[str, str]:
    """Versions by name: the engine and its dependencies, `PACKAGES`, and Python."""
    return engine_versions(PACKAGES)
