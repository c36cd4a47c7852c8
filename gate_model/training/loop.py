"""The training loop: it counts epochs, scores the networks on the selection molecules, stops early and checkpoints."""

import math
from collections.abc import Sequence
from dataclasses import asdict

from bilevel_hpo import DivergedError
from gate_model.data.batches import ExchangingBatches
from gate_model.data.prepared import PreparedData
from gate_model.model.evaluation import predict, rmse
from gate_model.training.checkpoints import Checkpoints
from gate_model.training.progress import Progress, epoch_report
from gate_model.training.settings import Settings
from gate_model.training.stepper import Stepper
from gate_model.training.stopping import BestModel
from gate_model.training.trained import Trained

__all__ = ["run_epochs"]


def run_epochs(
    stepper: Stepper,
    data: PreparedData,
    batches: ExchangingBatches,
    settings: Settings,
    *,
    names: Sequence[str] = ("",),
    checkpoints: Checkpoints | None = None,
    progress: Progress | None = None,
) -> list[Trained]:
    """Train the stepper's N networks until all epochs are done, or until every network has run out of patience.

    Args:
        stepper: takes the training steps of an epoch.
        data: molecules, split and scaling.
        batches: the batches that the stepper uses; molecules are exchanged between them after every epoch.
        settings: hyperparameters.
        names: names of the N networks, for messages.
        checkpoints: where checkpoints are written, at intervals and at the end. If there is one, training continues
            from it.
        progress: called with the report of every epoch of every network.

    Returns:
        One `Trained` for each network.

    Raises:
        DivergedError: a network's predictions are not finite.
    """
    best = [BestModel(settings.patience) for _ in stepper.networks]
    histories: list[list[dict[str, float]]] = [[] for _ in stepper.networks]
    state = checkpoints.load() if checkpoints is not None else None
    if state is not None:
        stepper.load_state_dict(state["stepper"])
        batches.load_state_dict(state["batches"])
        for kept, each in zip(best, state["best"], strict=True):
            kept.load_state_dict(each)
        histories = state["histories"]
    epoch = max(map(len, histories))
    selection, labels = data.some(data.split.selection)
    while epoch < settings.epochs and not all(each.exhausted(epoch) for each in best):
        epoch += 1
        passed = stepper.epoch()
        batches.next_epoch()
        for place, network in enumerate(stepper.networks):
            if best[place].exhausted(epoch - 1):
                continue
            score = float(rmse(predict(network, selection), labels).mean())
            if not math.isfinite(score):
                raise DivergedError(
                    f"the training{names[place] and f' of {names[place]}'} diverged in epoch {epoch} (RMSE on the "
                    f"selection molecules: {score}); lower the learning rate, lr={settings.lr:g}"
                )
            best[place].add(epoch, score, network)
            loss, lambda_ = passed.train_losses[place], stepper.lambda_(place)
            report = epoch_report(epoch, passed.seconds, loss, score, passed.lr, lambda_)
            histories[place].append(asdict(report))
            if progress is not None:
                progress(report)
        over = epoch == settings.epochs or all(each.exhausted(epoch) for each in best)
        if checkpoints is not None and (over or checkpoints.due()):
            checkpoints.save(
                {
                    "stepper": stepper.state_dict(),
                    "batches": batches.state_dict(),
                    "best": [each.state_dict() for each in best],
                    "histories": histories,
                }
            )
    stepper.finish()
    return [_trained(stepper, place, best[place], histories[place]) for place in range(len(best))]


def _trained(stepper: Stepper, place: int, best: BestModel, history: list[dict[str, float]]) -> Trained:
    model = stepper.networks[place]
    best.restore(model)
    trajectory = stepper.trajectory(place)[: len(history) + 1]
    epoch = best.epoch or len(history)
    return Trained(
        model,
        epoch,
        trajectory[epoch],
        trajectory,
        history,
        history[-1]["seconds"],
        stepper.outer_steps(place),
        stepper.verdict(place),
    )
