"""How much faster are the features of molecules than with RDKit's descriptors one by one, and from the store?

- `ratio`: molecules a second on one core, against the same features with each function of `Descriptors.descList` called
  by itself. Chunks of 100 molecules in turn in one process, the order changes from chunk to chunk; processor time. The
  ratio is that of the sums; `interval` is the range of the middle half of the chunks. Both are compared to the bit.
- `seconds`: `features` of all molecules from an empty store, from a full one, and of as many molecules of which a tenth
  is new, by the wall clock, on all cores.
- `bytes_per_molecule`: the size of the store.

The last line is JSON.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, rdBase
from rdkit.Chem import Descriptors, rdFingerprintGenerator

from gate_model.data.chemicals.table import load_chemicals
from gate_model.data.molecules.features import MORGAN_BITS, compute_features, features

CHUNK = 100


def one_by_one(smiles: list[str]) -> NDArray[np.float32]:
    """The features as their definition says."""
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=MORGAN_BITS)
    rows = []
    for each in smiles:
        molecule = Chem.MolFromSmiles(each)
        counts = generator.GetCountFingerprintAsNumPy(molecule)
        values = np.nan_to_num([value(molecule, function) for _, function in Descriptors.descList], posinf=0, neginf=0)
        rows.append(np.concatenate([np.log1p(counts), np.sign(values) * np.log1p(np.abs(values))]).astype(np.float32))
    return np.stack(rows)


def value(molecule: Any, function: Callable[[Any], float]) -> float:
    try:
        return float(function(molecule))
    except (ValueError, ZeroDivisionError, RuntimeError, OverflowError):
        return 0.0


def timed(work: Callable[[list[str]], NDArray[np.float32]], smiles: list[str]) -> tuple[float, NDArray[np.float32]]:
    start = time.process_time()
    result = work(smiles)
    return time.process_time() - start, result


def on_one_core(smiles: list[str]) -> dict[str, Any]:
    for work in (one_by_one, compute_features):
        work(smiles[:CHUNK])
    times, different = [], 0
    for number, start in enumerate(range(0, len(smiles), CHUNK)):
        part = smiles[start : start + CHUNK]
        if number % 2:
            plain, shared = timed(one_by_one, part), timed(compute_features, part)
        else:
            shared, plain = timed(compute_features, part), timed(one_by_one, part)
        times.append((plain[0], shared[0]))
        different += int((plain[1] != shared[1]).sum())
    seconds = np.array(times)
    total = seconds.sum(0)
    middle = np.quantile(seconds[:, 0] / seconds[:, 1], [0.25, 0.75])
    return {
        "ratio": round(float(total[0] / total[1]), 2),
        "interval": [round(float(each), 2) for each in middle],
        "ms_per_molecule": [round(float(each) / len(smiles) * 1000, 2) for each in total],
        "different_values": different,
    }


def from_the_store(smiles: list[str], new: list[str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GATE_CACHE"] = folder
        seconds, results = {}, []
        for name, molecules in (("cold", smiles), ("warm", smiles), ("tenth_new", [*smiles[len(new) :], *new])):
            start = time.perf_counter()
            results.append(features(molecules))
            seconds[name] = round(time.perf_counter() - start, 2)
        assert (results[0] == results[1]).all()
        size = (Path(folder) / "features.sqlite").stat().st_size
    return {"seconds": seconds, "bytes_per_molecule": round(size / (len(smiles) + len(new)))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--molecules", type=int, default=4000)
    parser.add_argument("--compared", type=int, default=2000, help="molecules for the ratio")
    arguments = parser.parse_args()
    rdBase.DisableLog("rdApp.*")
    table = load_chemicals(derived=True)
    order = np.random.default_rng(0).permutation(len(table.smiles))
    tenth = arguments.molecules // 10
    smiles = [table.smiles[number] for number in order[: arguments.molecules + tenth]]
    new = smiles[arguments.molecules :]
    result = {"molecules": arguments.molecules, "compared": arguments.compared, "cores": os.cpu_count()}
    result |= on_one_core([table.smiles[number] for number in order[-arguments.compared :]])
    print(f"{result['ratio']} times as many molecules a second, {result['different_values']} values differ", flush=True)
    result |= from_the_store(smiles[: arguments.molecules], new)
    for name, seconds in result["seconds"].items():
        print(f"{name}: {seconds} s")
    print(json.dumps(result | {"rdkit": rdBase.rdkitVersion}))


if __name__ == "__main__":
    main()
