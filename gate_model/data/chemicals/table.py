"""The property table from the tables bundled with the `chemicals` library, built once and cached."""

import difflib
import inspect
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from importlib.metadata import version

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gate_model.data import cache
from gate_model.data.chemicals.declarations import AVAILABLE, DECLARATIONS
from gate_model.data.chemicals.merge import merge
from gate_model.data.table import SET_ASIDE_COLUMNS, DataError, Origins, PropertyTable
from gate_model.data.tasks import CATALOGUE

__all__ = ["load_chemicals"]

_LIBRARIES = ("chemicals", "fluids", "numpy", "pandas", "rdkit", "scipy")
_RULES = (
    *(f"chemicals.declarations.{name}" for name in ("energies", "liquids", "transitions")),
    *(f"chemicals.{name}" for name in ("chemsep", "choice", "equations", "library", "merge", "sources", "table")),
    *("molecules.smiles", "tasks"),
)


def load_chemicals(
    tasks: Sequence[str] | None = None, *, derived: bool = False, rebuild: bool = False
) -> PropertyTable:
    """Return the table of these tasks, from the cache if it was built before.

    The cache holds the labels of all tasks. Its key contains the versions of the libraries and the source code of the
    declarations, and its content has a checksum. A damaged or outdated file is built again, which takes about 15 s.

    Args:
        tasks: abbreviations of the tasks; None: all that have labels.
        derived: include labels that are computed from labels of other tasks.
        rebuild: build the table again, even if it is cached.

    Raises:
        DataError: a task is not in the table, or it has only derived labels and `derived` is False.
    """
    names = list(AVAILABLE) if tasks is None else list(dict.fromkeys(tasks))
    for name in tasks or ():
        _check(name, derived)
    smiles, labels, origins = _unpack(_stored(rebuild))
    if not derived:
        labels = np.where(np.isin(origins.codes, origins.places("derived")), np.nan, labels)
        origins = replace(origins, codes=np.where(np.isfinite(labels), origins.codes, -1).astype(np.int16))
    declared = tuple(replace(CATALOGUE[name], kind=origins.kind_of(column)) for column, name in enumerate(AVAILABLE))
    aside = pd.DataFrame(columns=list(SET_ASIDE_COLUMNS))
    source = f"chemicals {version('chemicals')}" + (" with derived labels" if derived else "")
    table = PropertyTable(declared, smiles, labels, aside, source, origins)
    counts = dict(zip(AVAILABLE, np.isfinite(labels).sum(0), strict=True))
    return table.select([name for name in names if counts[name]])


def _check(name: str, derived: bool) -> None:
    if name not in AVAILABLE:
        if name in CATALOGUE:
            raise DataError(
                f"task {name!r} ({CATALOGUE[name].name}) is not in `chemicals`; it must come from your own file"
            )
        close = difflib.get_close_matches(name.upper(), CATALOGUE, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise DataError(f"task {name!r} is not in the chemicals table, which has {', '.join(AVAILABLE)}{hint}")
    if not derived and DECLARATIONS[name].kind == "derived":
        raise DataError(f"task {name!r} has only labels that are derived from other tasks; include them with --derived")


def _stored(rebuild: bool) -> bytes:
    """Return all labels of all tasks, from the cache if they are there; otherwise build them."""
    versions = [version(library) for library in _LIBRARIES]
    rules = [inspect.getsource(import_module(f"gate_model.data.{module}")) for module in _RULES]
    file = f"chemicals-{cache.key_of(versions, rules)}.npz"
    content = None if rebuild else cache.read(file)
    if content is None:
        content = _pack(merge(AVAILABLE))
        cache.write(file, content)
    return content


def _pack(labels: pd.DataFrame) -> bytes:
    """Return molecule, task, source and value of each label as the bytes of a file; equal labels give equal bytes."""
    smiles, molecule = np.unique(labels["smiles"].to_numpy(str), return_inverse=True)
    pairs = list(zip(labels["source"], labels["kind"], strict=True))
    sources = sorted(set(pairs))
    names = {"smiles": list(smiles), "sources": sources}
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        names=np.frombuffer(json.dumps(names).encode(), np.uint8),
        molecule=molecule.astype(np.int32),
        task=labels["task"].map(AVAILABLE.index).to_numpy(np.int8),
        source=np.array([sources.index(pair) for pair in pairs], np.int16),
        value=labels["value"].to_numpy(np.float64),
    )
    return buffer.getvalue()


def _unpack(content: bytes) -> tuple[tuple[str, ...], NDArray[np.float64], Origins]:
    """Return canonical SMILES `[N]`, labels `[N, T]` of all available tasks, and their origins."""
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        names = json.loads(arrays["names"].tobytes())
        shape = (len(names["smiles"]), len(AVAILABLE))
        labels, codes = np.full(shape, np.nan), np.full(shape, -1, np.int16)
        labels[arrays["molecule"], arrays["task"]] = arrays["value"]
        codes[arrays["molecule"], arrays["task"]] = arrays["source"]
    sources, kinds = zip(*names["sources"], strict=True)
    return tuple(names["smiles"]), labels, Origins(sources, kinds, codes)
