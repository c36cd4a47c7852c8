"""`gate predict`: the tasks of a trained model for the molecules of a CSV."""
# ruff: noqa: PLC0415  What predicts is imported by the command, so that its help is quick.

from pathlib import Path
from typing import Annotated

import typer

from gate_model.cli._console import console
from gate_model.cli._options import SmilesOption

__all__ = ["app", "predict"]

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(help="Folder of a finished `gate learn`.")],
    file: Annotated[Path, typer.Argument(help="CSV with a SMILES column, of any length.")],
    out: Annotated[Path | None, typer.Option(help="Default: FILE.predicted.csv beside the file.")] = None,
    smiles_column: SmilesOption = None,
    coverage: Annotated[
        float, typer.Option(help="Share of labels inside their interval, low to high; above 0 and below 1.")
    ] = 0.9,
    embedding: Annotated[
        str | None,
        typer.Option(metavar="MODULE", help="Your module that registers the embedding the model was trained with."),
    ] = None,
) -> None:
    """Predict every task for the molecules of a CSV, with ±σ, in the tasks' own units; flag unfamiliar molecules."""
    from gate_model.cli._embedding import import_named
    from gate_model.cli._progress import progress_bar
    from gate_model.predictor.prediction import predict_file
    from gate_model.predictor.remarks import remarks
    from gate_model.predictor.saved_model import load_model

    target = out or file.with_suffix(".predicted.csv")
    if embedding is not None:
        import_named(embedding.partition(":")[0])
    model = load_model(run)
    with progress_bar() as bar:
        task = bar.add_task("rows", total=None)
        done = predict_file(
            model,
            file,
            target,
            smiles_column=smiles_column,
            coverage=coverage,
            progress=lambda done, rows: bar.update(task, completed=done, total=rows),
        )
    notes = [f"{done.unread} rows not predicted"] if done.unread else []
    notes += [f"{done.unlike} for molecules unlike the training molecules"] if done.unlike else []
    said = ["; ".join([f"wrote {done.rows - done.unread} predictions to {target}", *notes]), *remarks(model, coverage)]
    for line in said:
        console.print(line, markup=False, soft_wrap=True)
