"""One training of GATE: prepared data and a method in, a trained model and its numbers out."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bilevel_hpo import BilevelLearner, DivergedError
from bilevel_hpo.comparison import outer_steps_of, verdict_of
from bilevel_hpo.signal import Verdict
from gate_model.data.batches import Batch, Inputs
from gate_model.data.inputs import Embedding
from gate_model.data.prepared import PreparedData
from gate_model.model.embeddings import FeatureMLP
from gate_model.model.gate import GATE
from gate_model.model.losses import DirectPathLoss, PathLoss, TrainLoss
from gate_model.model.message_passing import DirectedMPNN
from gate_model.model.precision import Precision, in_precision
from gate_model.training.checkpoints import Checkpoints
from gate_model.training.methods import Learned, Method, relative
from gate_model.training.schedules import Schedule, scheduler
from gate_model.training.sparsity import ActivePairs
from gate_model.training.stopping import BestModel

__all__ = [
    "SETTINGS",
    "SMALL_LAMBDA",
    "EpochReport",
    "Progress",
    "Settings",
    "Trained",
    "build_model",
    "epoch_report",
    "evaluated",
    "finite_score",
    "predict",
    "resolve_device",
    "rmse",
    "train",
    "train_loss",
]

SMALL_LAMBDA = 0.1
"""A λ below this counts as small in the reports; the paper finds most of its own below it."""


@dataclass(frozen=True)
class Settings:
    """Hyperparameters of a training. The paper prints none of them: all are our own choice."""

    epochs: int = 30
    batch_size: int = 256
    lr: float = 2e-3
    """The highest learning rate of the schedule."""
    schedule: Schedule = "cosine"
    weight_decay: float = 1e-4
    patience: int | None = None
    """Stop after that many epochs without a better RMSE on the selection molecules, and keep the best model; None:
    train all epochs and keep the last."""
    precision: Precision = "float32"
    embedding: Embedding = "fingerprint"
    embedding_hidden: int = 512
    """Width of the fingerprint MLP's hidden layer, or of a bond's message."""
    depth: int = 3
    """Rounds of message passing; of the graph embedding only."""
    d: int = 128
    k: int = 32
    hidden: int = 64
    dropout: float = 0.0
    exchange: float = 0.2
    """Share of the validation molecules that changes place with train molecules between epochs."""
    threshold: float = 0.0
    """Paths with a smaller λ are left out of the inner steps, see `ActivePairs`."""
    top_k: int | None = None
    """Most sources per target in an inner step; None: all."""
    rotation: int = 10
    """A path that is left out takes part in one of so many outer steps."""
    geometry_share: float = 0.25
    """Share of a batch on which the geometric terms are evaluated, see `TrainLoss`."""
    relative_losses: bool = True
    """Losses enter as logarithms, see `TrainLoss`; False: as the paper prints them."""


SETTINGS: Mapping[Embedding, Settings] = {
    "fingerprint": Settings(),
    "graph": Settings(embedding="graph", embedding_hidden=300, lr=1e-3, dropout=0.1),
}
"""What `gate learn` starts from."""


@dataclass(frozen=True)
class EpochReport:
    """One epoch as it is shown and as it stands in history.csv; λ in units of the direct path, off the diagonal."""

    epoch: int
    seconds: float
    """Since the first epoch began, pauses between runs left out."""
    train_loss: float
    selection: float
    """RMSE on the selection molecules, mean over tasks, standardised."""
    lr: float
    """Inner learning rate after the epoch."""
    lambda_mean: float
    lambda_min: float
    lambda_max: float
    lambda_small: float
    """Share of the λ below `SMALL_LAMBDA`."""


Progress = Callable[[EpochReport], object]
"""Called after every epoch."""


@dataclass(frozen=True)
class Trained:
    """What one training leaves behind."""

    model: GATE
    """After the best epoch with early stopping, else after the last."""
    epoch: int
    """The epoch that `model` and `ratios` are of."""
    ratios: Tensor
    """λ or W as it entered the loss, `[T, T]`."""
    trajectory: Tensor
    """The same at the start and after every epoch, `[epochs + 1, T, T]`."""
    history: list[dict[str, float]]
    """`EpochReport`s."""
    seconds: float
    outer_steps: list[dict[str, Any]] = field(default_factory=list)
    """Their columns are `bilevel_hpo.comparison.OUTER_STEP_COLUMNS`; empty for a constant λ."""
    verdict: Verdict | None = None
    """Whether the hypergradients say anything about λ; None where they were not asked."""

    @property
    def val_rmse(self) -> float:
        """Of `model` on the selection molecules."""
        return self.history[self.epoch - 1]["selection"]


def build_model(n_features: int, n_tasks: int, settings: Settings) -> GATE:
    """GATE for molecules with `n_features` features (`Featurizer.width`)."""
    embedding: nn.Module
    width, d, dropout = settings.embedding_hidden, settings.d, settings.dropout
    if settings.embedding == "graph":
        embedding = DirectedMPNN(hidden=width, depth=settings.depth, d=d, dropout=dropout, n_descriptors=n_features)
    else:
        embedding = FeatureMLP(n_features, hidden=width, d=d, dropout=dropout)
    return GATE(embedding, n_tasks, d=settings.d, k=settings.k, hidden=settings.hidden)


def train(
    data: PreparedData,
    method: Method,
    settings: Settings,
    *,
    seed: int,
    device: torch.device | None = None,
    checkpoints: Checkpoints | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Train once, λ constant or learned; on the CPU the same seed gives the same bits.

    Args:
        data: molecules, split and scaling.
        method: how λ is chosen.
        settings: hyperparameters.
        seed: of the initial weights, the batches, the exchange and dropout.
        device: CPU when left out.
        checkpoints: written when due and at the end; where there is one already, training goes on from it.
        progress: called after every epoch.

    Raises:
        DivergedError: the training diverged.
    """
    torch.manual_seed(seed)
    device = device or torch.device("cpu")
    model = build_model(data.featurizer.width, len(data.abbreviations), settings).to(device)
    batches = data.batches(settings.batch_size, settings.exchange, seed=seed, device=device)
    learner = _learner(model, method, settings, data.abbreviations, settings.epochs * len(batches.train))
    best = BestModel(settings.patience)
    history: list[dict[str, float]] = []
    state = checkpoints.load() if checkpoints is not None else None
    if state is not None:
        learner.load_state_dict(state["learner"])
        batches.load_state_dict(state["batches"])
        best.load_state_dict(state["best"])
        history = state["history"]
    selection, selection_labels = data.some(data.split.selection)
    steps = len(batches.train)
    outer_every, warm_up = method.schedule(settings.epochs, steps) if isinstance(method, Learned) else (None, 0)
    while learner.epoch < settings.epochs and not best.exhausted(learner.epoch):
        learner.fit(
            batches.train,
            batches.validation,
            epochs=learner.epoch + 1,
            outer_every=outer_every,
            warm_up=warm_up,
            progress=False,  # `progress` of this function says more
        )
        batches.next_epoch()
        score = finite_score(model, selection, selection_labels, learner.epoch, settings)
        best.add(learner.epoch, score, model)
        row, lr = learner.epochs.iloc[-1], float(learner.inner_optimizer.param_groups[0]["lr"])
        ratios = cast(Tensor, learner.weights()).detach()
        report = epoch_report(learner.epoch, float(row["seconds"]), float(row["train_loss"]), score, lr, ratios)
        history.append(asdict(report))
        over = learner.epoch == settings.epochs or best.exhausted(learner.epoch)
        if checkpoints is not None and (over or checkpoints.due()):
            checkpoints.save(
                {
                    "learner": learner.state_dict(),
                    "batches": batches.state_dict(),
                    "best": best.state_dict(),
                    "history": history,
                }
            )
        if progress is not None:
            progress(report)
    best.restore(model)
    epoch = best.epoch or learner.epoch
    trajectory = cast(Tensor, learner.trajectory)
    seconds = history[-1]["seconds"]
    return Trained(
        model, epoch, trajectory[epoch], trajectory, history, seconds, outer_steps_of(learner), verdict_of(learner)
    )


def finite_score(
    model: GATE, x: Inputs, labels: NDArray[np.float64], epoch: int, settings: Settings, *, of: str = ""
) -> float:
    """RMSE on the selection molecules after `epoch`, mean over tasks.

    Raises:
        DivergedError: the training (`of` a method, if there are several) diverged.
    """
    score = float(rmse(predict(model, x), labels).mean())
    if not math.isfinite(score):
        raise DivergedError(
            f"the training{of and f' of {of}'} diverged in epoch {epoch} (RMSE on the selection molecules: {score}); "
            f"lower the learning rate, lr={settings.lr:g}"
        )
    return score


def train_loss(method: Method, settings: Settings) -> TrainLoss:
    """L_train of a training."""
    return replace(method.train_loss(), geometry_share=settings.geometry_share, relative=settings.relative_losses)


def _val_loss(method: Method, settings: Settings) -> DirectPathLoss | PathLoss:
    loss = method.val_loss() if isinstance(method, Learned) else DirectPathLoss()
    return loss if isinstance(loss, PathLoss) else replace(loss, relative=settings.relative_losses)


def _learner(model: GATE, method: Method, settings: Settings, tasks: tuple[str, ...], steps: int) -> BilevelLearner:
    learned = method if isinstance(method, Learned) else None
    ratios = method.ratios(tasks).to(next(model.parameters()).device)
    loss = train_loss(method, settings)
    # A constant λ is used as it is.
    active = ActivePairs(settings.threshold, settings.rotation, settings.top_k) if learned else ActivePairs(0.0)

    def on_pairs(term: Callable[..., Tensor]) -> Callable[[nn.Module, Tensor, Batch], Tensor]:
        def of(model: nn.Module, weights: Tensor, batch: Batch) -> Tensor:
            outer = weights.requires_grad
            return term(model, weights, batch, cast(Tensor, learner.active) if outer else active.inner(weights))

        return of

    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
    learner = BilevelLearner(
        model,
        optimizer,
        ratios,
        train_loss=in_precision(on_pairs(loss), settings.precision),
        lambda_terms=in_precision(on_pairs(loss.lambda_terms), settings.precision),
        val_loss=in_precision(_val_loss(method, settings), settings.precision),
        hypergradient=learned.hypergradient() if learned else None,
        outer_optimizer=torch.optim.Adam(ratios.parameters(), lr=learned.outer_lr if learned else 0.0),
        inner_scheduler=scheduler(settings.schedule, optimizer, steps),
        active=active,
    )
    return learner


def epoch_report(epoch: int, seconds: float, train_loss: float, score: float, lr: float, ratios: Tensor) -> EpochReport:
    """The report of an epoch after which λ or W is `ratios` `[T, T]` and the selection RMSE `score`."""
    lambda_ = relative(ratios)
    off = lambda_[~torch.eye(len(lambda_), dtype=torch.bool, device=lambda_.device)]
    if len(off) == 0:  # one task alone has nobody to learn from
        off = lambda_.new_zeros(1)
    return EpochReport(
        epoch=epoch,
        seconds=seconds,
        train_loss=train_loss,
        selection=score,
        lr=lr,
        lambda_mean=float(off.mean()),
        lambda_min=float(off.min()),
        lambda_max=float(off.max()),
        lambda_small=float((off < SMALL_LAMBDA).float().mean()),
    )


def predict(model: nn.Module, x: Inputs, batch_size: int = 4096) -> NDArray[np.float64]:
    """Direct predictions `[N, T]` in standardised units, in eval mode."""
    return evaluated(model, model, x, batch_size)


def evaluated(model: nn.Module, of: Callable[[Any], Tensor], x: Inputs, batch_size: int = 4096) -> NDArray[np.float64]:
    """`of`, a function of a batch of inputs that asks `model`, for all molecules `[N, ...]`; in eval mode."""
    device, training = next(model.parameters()).device, model.training
    model.eval()
    with torch.no_grad():
        rows = torch.split(torch.arange(len(x)), batch_size)
        parts = [of(x[part].to(device)).double().cpu().numpy() for part in rows]
    model.train(training)
    return np.concatenate(parts)


def rmse(predicted: NDArray[np.float64], labels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Root mean square error per task `[T]` over the molecules that carry the label (NaN = none).

    NaN for a task without labels, and for one whose prediction is NaN where there is a label.
    """
    known = ~np.isnan(labels)
    squared = np.where(known, predicted - labels, 0.0) ** 2
    n = known.sum(0)
    return np.where(n > 0, np.sqrt(squared.sum(0) / n.clip(1)), np.nan)


def resolve_device(name: str) -> torch.device:
    """`auto` is the GPU where there is one; anything else is a torch device name, checked."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"--device {name}: not to be had here ({str(error).splitlines()[0]}); use auto or cpu"
        ) from error
    return device
