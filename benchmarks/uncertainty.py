"""Does the stated uncertainty mean anything, and below which similarity does a prediction deserve a warning?

Nine tasks from `chemicals`, molecules with at least three labels, one split per seed; on each split an ensemble whose
members differ in their training seed. Spreads compared, for each task:

- paths: root mean square difference between the transferred paths and the direct one (one training);
- paths_std: standard deviation of the transferred paths (one training);
- members: standard deviation over the members (as many trainings as members); members_3 uses three of them;
- dissimilarity: 1 − Tanimoto similarity to the nearest training molecule (one training);
- constant: the same σ for every molecule, for comparison.

σ² = a·spread² + b is fitted on the selection molecules (`gate_model.predictor.uncertainty.calibrate`). Reported on test
molecules: rank correlation of spread and absolute error, coverage of ±σ and ±2σ, negative log likelihood. Errors are
those of the prediction that the spread goes with: one model's, or the mean of the members.

Intervals: the conformal ones of `gate_model.predictor.intervals`, calibrated on the selection molecules. Reported for
each split: the share of test labels inside, by task and of flagged molecules, and the width. Beside it the share with
selection and test molecules mixed and parted by chance, 100 times: then the labels are exchangeable.

Predictions are kept in `--cache`, so that an interrupted run goes on. The last line printed is JSON.
"""

import argparse
import json
import shlex
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from gate_model.data.chemicals.table import load_chemicals
from gate_model.data.molecules.similarity import UNLIKE, nearest, packed_fingerprints
from gate_model.data.prepared import PreparedData, prepare
from gate_model.data.table import PropertyTable
from gate_model.model.evaluation import predict
from gate_model.predictor.intervals import Intervals
from gate_model.predictor.uncertainty import calibrate, member_spread, path_spread, transferred
from gate_model.training.methods import LEARNED
from gate_model.training.settings import Settings
from gate_model.training.train import train

TASKS = "DS,HV,BP,MP,RI,CT,CTP,CTV,HVC"
KINDS = ("paths", "paths_std", "members_3", "members", "dissimilarity", "constant")
COVERAGES = (0.8, 0.9, 0.95)
EDGES = (0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.01)

Array = NDArray[np.float64]


def predictions(data: PreparedData, split_seed: int, members: int, epochs: int, cache: Path) -> dict[str, Array]:
    """Of every member, on selection and test molecules: direct `[E, N, T]`, paths `[N, T, S]` of the first."""
    file = cache / f"split{split_seed}-members{members}-epochs{epochs}.npz"
    if file.exists():
        with np.load(file) as kept:
            return dict(kept)
    seen = np.concatenate([data.split.train, data.split.validation])
    training = packed_fingerprints([data.table.smiles[row] for row in seen])
    models = []
    for member in range(members):
        seed = split_seed + 1000 * member
        models.append(train(data, LEARNED["budget"], Settings(epochs=epochs), seed=seed).model)
        print(f"split {split_seed}, member {member + 1} of {members}", flush=True)
    found = {}
    for part, rows in (("selection", data.split.selection), ("test", data.split.test)):
        x, labels = data.some(rows)
        found[f"{part}_labels"] = labels
        found[f"{part}_direct"] = np.stack([predict(model, x) for model in models])
        found[f"{part}_paths"] = transferred(models[0], x)
        found[f"{part}_similarity"] = nearest(
            packed_fingerprints([data.table.smiles[r] for r in rows]), training
        ).similarity
    cache.mkdir(parents=True, exist_ok=True)
    np.savez(file, **found)
    return found


def spread_and_prediction(kind: str, found: dict[str, Array], part: str) -> tuple[Array, Array]:
    """Each `[N, T]`."""
    direct, paths = found[f"{part}_direct"], found[f"{part}_paths"]
    n_tasks = direct.shape[2]
    if kind.startswith("members"):
        some = direct[:3] if kind == "members_3" else direct
        return member_spread(some), some.mean(0)
    if kind == "paths":
        return path_spread(direct[0], paths), direct[0]
    if kind == "paths_std":
        others = np.where(np.eye(n_tasks, dtype=bool), np.nan, paths)
        return np.nanstd(others, axis=2), direct[0]
    if kind == "dissimilarity":
        return np.repeat(1 - found[f"{part}_similarity"][:, None], n_tasks, axis=1), direct[0]
    return np.zeros_like(direct[0]), direct[0]


def judged(kind: str, found: dict[str, Array], column: int) -> dict[str, float]:
    """One kind, one split, one task; calibrated on selection, judged on test."""
    values = {}
    for part in ("selection", "test"):
        spread, predicted = spread_and_prediction(kind, found, part)
        known = np.isfinite(found[f"{part}_labels"][:, column])
        values[part] = spread[known, column], (predicted - found[f"{part}_labels"])[known, column]
    slope, floor = calibrate(*values["selection"])
    result = {}
    for part, (spread, errors) in values.items():
        sigma = np.sqrt(slope * spread**2 + floor)
        ranks = pd.DataFrame({"spread": spread, "error": np.abs(errors)}).rank()
        constant = float(ranks["spread"].std()) == 0
        result |= {
            f"{part}_rank_correlation": 0.0 if constant else float(ranks["spread"].corr(ranks["error"])),
            f"{part}_within_1": float((np.abs(errors) <= sigma).mean()),
            f"{part}_within_2": float((np.abs(errors) <= 2 * sigma).mean()),
            f"{part}_nll": float((0.5 * np.log(2 * np.pi * sigma**2) + 0.5 * (errors / sigma) ** 2).mean()),
            f"{part}_rmse": float(np.sqrt((errors**2).mean())),
        }
    return result | {"share_of_constant": floor / (slope * float((values["selection"][0] ** 2).mean()) + floor)}


def inside(kind: str, found: dict[str, Array], coverage: float) -> dict[str, float | list[float]]:
    """Of one split: share of test labels inside their interval, by task, and what 100 partings by chance give."""
    spread, predicted, labels = (
        np.concatenate(parts)
        for parts in zip(
            *((*spread_and_prediction(kind, found, part), found[f"{part}_labels"]) for part in ("selection", "test")),
            strict=True,
        )
    )
    n = len(found["selection_labels"])
    order = np.arange(len(labels))
    rng = np.random.default_rng(0)
    shares, widths = [], []
    for chosen in (order, *(rng.permutation(order) for _ in range(100))):
        selection, test = chosen[:n], chosen[n:]
        sigma = np.empty_like(spread)
        for column in range(labels.shape[1]):
            known = selection[np.isfinite(labels[selection, column])]
            slope, floor = calibrate(spread[known, column], (predicted - labels)[known, column])
            sigma[:, column] = np.sqrt(slope * spread[:, column] ** 2 + floor)
        factors = Intervals.calibrated(predicted[selection], sigma[selection], labels[selection]).factors(coverage)
        half = factors * sigma[test]
        errors = np.abs(predicted - labels)[test]
        shares.append(np.where(np.isfinite(errors), errors <= half, np.nan))
        widths.append(2 * half)
    unlike = found["test_similarity"] < UNLIKE
    by_task = np.array([np.nanmean(share, axis=0) for share in shares])
    return {
        "mean": float(by_task[0].mean()),
        "by_task": by_task[0].round(4).tolist(),
        "mean_width": float(widths[0].mean()),
        "median_width": float(np.median(widths[0])),
        "unlike": float(np.nanmean(shares[0][unlike])),
        "unlike_labels": int(np.isfinite(shares[0][unlike]).sum()),
        "exchangeable_mean": float(by_task[1:].mean()),
        "exchangeable_std_of_mean": float(by_task[1:].mean(1).std()),
    }


def by_similarity(splits: list[dict[str, Array]], part: str) -> list[dict[str, float]]:
    """Root mean square error of one model over all labels, by similarity to the nearest training molecule."""
    similarity = np.concatenate([np.repeat(f[f"{part}_similarity"], f[f"{part}_labels"].shape[1]) for f in splits])
    errors = np.concatenate([(f[f"{part}_direct"][0] - f[f"{part}_labels"]).ravel() for f in splits])
    molecules = np.concatenate([f[f"{part}_similarity"] for f in splits])
    rows = []
    for low, high in pairwise(EDGES):
        inside = (similarity >= low) & (similarity < high) & np.isfinite(errors)
        count = int(((molecules >= low) & (molecules < high)).sum())
        value = float(np.sqrt((errors[inside] ** 2).mean())) if inside.any() else None
        rows.append({"from": low, "to": min(high, 1.0), "molecules": count, "labels": int(inside.sum()), "rmse": value})
    return rows


def below(splits: list[dict[str, Array]], part: str, threshold: float) -> dict[str, float | None]:
    """The error of the molecules a threshold flags against that of the others."""
    similarity = np.concatenate([np.repeat(f[f"{part}_similarity"], f[f"{part}_labels"].shape[1]) for f in splits])
    errors = np.concatenate([(f[f"{part}_direct"][0] - f[f"{part}_labels"]).ravel() for f in splits])
    known, flagged = np.isfinite(errors), similarity < threshold
    low, high = errors[known & flagged], errors[known & ~flagged]
    ratio = float(np.sqrt((low**2).mean() / (high**2).mean())) if len(low) and len(high) else None
    return {"threshold": threshold, "share_flagged": float(flagged[known].mean()), "error_ratio": ratio}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default=TASKS)
    parser.add_argument("--at-least", type=int, default=3)
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--members", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=Settings().epochs)
    parser.add_argument("--cache", type=Path, default=Path("runs/uncertainty"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    table: PropertyTable = load_chemicals(args.tasks.split(",")).with_at_least(args.at_least)
    splits = [
        predictions(prepare(table, seed=seed), seed, args.members, args.epochs, args.cache)
        for seed in range(args.splits)
    ]
    kinds: dict[str, Any] = {}
    for kind in KINDS:
        rows = [
            {"task": task, **judged(kind, found, column)}
            for found in splits
            for column, task in enumerate(table.abbreviations)
        ]
        frame = pd.DataFrame(rows)
        mean = frame.drop(columns="task").mean().round(4)
        kinds[kind] = {
            "mean": mean.to_dict(),
            "per_task": frame.groupby("task", sort=False).mean().round(4).to_dict("index"),
        }
        print(f"{kind:14}", mean.filter(like="test").to_dict(), flush=True)
    intervals = {
        kind: {f"{coverage:g}": [inside(kind, found, coverage) for found in splits] for coverage in COVERAGES}
        for kind in ("paths", "members", "constant")
    }
    for kind, of_kind in intervals.items():
        for coverage, rows in of_kind.items():
            means = [row["mean"] for row in rows]
            print(
                f"{kind:14} {coverage:4}", [round(mean, 3) for mean in means], f"mean {np.mean(means):.3f}", flush=True
            )
    similarity = {part: by_similarity(splits, part) for part in ("selection", "test")}
    thresholds = {
        part: [below(splits, part, t) for t in (0.2, 0.25, 0.3, 0.35, 0.4, 0.5)] for part in ("selection", "test")
    }
    result = {
        "command": shlex.join(["python", "benchmarks/uncertainty.py", *sys.argv[1:]]),
        "benchmark": "uncertainty",
        "tasks": args.tasks,
        "at_least": args.at_least,
        "molecules": len(table.smiles),
        "splits": args.splits,
        "members": args.members,
        "epochs": args.epochs,
        "kinds": kinds,
        "intervals": intervals,
        "similarity": similarity,
        "thresholds": thresholds,
        "torch": torch.__version__,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
