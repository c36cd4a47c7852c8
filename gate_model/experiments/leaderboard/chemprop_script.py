"""A script that trains chemprop and predicts. It needs chemprop 2.3, and imports nothing of this project.

Usage: `python -P chemprop_script.py QUESTION.json ANSWER.json`. The network and the training are those of
`chemprop train` with no option but the number of epochs: bond messages of width 300 and depth 3, the sum over atoms
divided by 100, one hidden layer of 300, batches of 64; the epoch with the best validation loss is kept.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from chemprop import data, featurizers, models, nn
from lightning import pytorch as pl
from lightning.pytorch.callbacks import ModelCheckpoint


def main(question: Path, answer: Path) -> None:
    """Read the question, train, predict, and write the answer."""
    torch.set_num_threads(1)
    asked = json.loads(question.read_text())
    labels = np.array(asked["labels"], dtype=float)
    loaders = {}
    for part in ("train", "validation", "predict"):
        points = [data.MoleculeDatapoint.from_smi(asked["smiles"][row], labels[row]) for row in asked[part]]
        dataset = data.MoleculeDataset(points, featurizers.SimpleMoleculeMolGraphFeaturizer())
        dataset.cache = True
        loaders[part] = data.build_dataloader(dataset, shuffle=part == "train", seed=asked["seed"])
    epochs = asked["epochs"]
    if asked["seconds"] is not None:
        trained(loaders, labels.shape[1], 1, asked["seed"])  # the first epoch is slower: it loads modules
        spent = trained(loaders, labels.shape[1], 2, asked["seed"])[1] / 2
        epochs = max(2, int(asked["seconds"] / spent))
    model, seconds = trained(loaders, labels.shape[1], epochs, asked["seed"])
    parts: Any = trainer(1).predict(model, loaders["predict"])
    told = {"predictions": torch.cat(parts).tolist(), "seconds": seconds, "epochs": epochs}
    answer.write_text(json.dumps(told))


def trained(loaders: dict[str, Any], n_tasks: int, epochs: int, seed: int) -> tuple[Any, float]:
    """Return the model of the best epoch, and the seconds of the training."""
    pl.seed_everything(seed)
    model = models.MPNN(
        nn.BondMessagePassing(),
        nn.NormAggregation(),
        nn.RegressionFFN(n_tasks=n_tasks),
        warmup_epochs=min(2, epochs - 1),
    )
    best = ModelCheckpoint("checkpoints", monitor="val_loss", mode="min")
    started = time.perf_counter()
    trainer(epochs, [best]).fit(model, loaders["train"], loaders["validation"])
    seconds = time.perf_counter() - started
    return models.MPNN.load_from_checkpoint(best.best_model_path), seconds


def trainer(epochs: int, callbacks: list[Any] | None = None) -> pl.Trainer:
    """Return a trainer that uses the CPU and prints nothing."""
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=callbacks,
        enable_checkpointing=callbacks is not None,
        deterministic=True,
        **quiet,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
