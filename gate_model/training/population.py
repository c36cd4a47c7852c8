"""Many trainings of GATE that differ in nothing but their constant λ, in one."""

import copy
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from gate_model.data.batches import Batch
from gate_model.data.prepared import PreparedData
from gate_model.model.losses import TrainLoss
from gate_model.training.loop import Settings, Trained, build_model, epoch_report, finite_score, train_loss
from gate_model.training.methods import Constant
from gate_model.training.schedules import scheduler
from gate_model.training.stopping import BestModel

__all__ = ["train_population"]


def train_population(
    data: PreparedData,
    methods: Sequence[Constant],
    settings: Settings,
    *,
    seed: int,
    device: torch.device | None = None,
) -> list[Trained]:
    """What `train` gives for each of N constant λ, up to rounding, in less time (docs/results/README.md says how much).

    All members have the same initial weights, batches, exchange and dropout, those of `train` with the same seed, and
    their parameters stand in one tensor `[N, ...]`, so that every operation of a step is called once for all of them.

    Args:
        data: molecules, split and scaling.
        methods: N ways of choosing λ; memory grows with their number.
        settings: hyperparameters; float32 only.
        seed: of the initial weights, the batches, the exchange and dropout.
        device: CPU when left out.

    Returns:
        One for each of `methods`; its seconds are an N-th of those of all.

    Raises:
        ValueError: there is no method, or the precision is not float32.
        DivergedError: a member diverged.
    """
    if not methods:
        raise ValueError("methods is empty; at least one constant λ is wanted")
    if settings.precision != "float32":
        raise ValueError(f"precision={settings.precision!r}: a population trains in float32")
    device = device or torch.device("cpu")
    torch.manual_seed(seed)
    initial = build_model(data.featurizer.width, len(data.abbreviations), settings).to(device)
    members = [copy.deepcopy(initial) for _ in methods]
    population = _Population(members, train_loss(methods[0], settings))
    ratios = [method.ratios(data.abbreviations)().detach().to(device) for method in methods]
    batches = data.batches(settings.batch_size, settings.exchange, seed=seed, device=device)
    parameters = population.parameters.values()
    optimizer = torch.optim.AdamW(parameters, lr=settings.lr, weight_decay=settings.weight_decay, fused=True)
    schedule = scheduler(settings.schedule, optimizer, settings.epochs * len(batches.train))
    selection, selection_labels = data.some(data.split.selection)
    best = [BestModel(settings.patience) for _ in methods]
    histories: list[list[dict[str, float]]] = [[] for _ in methods]
    weights, seconds = torch.stack(ratios), 0.0
    for epoch in range(1, settings.epochs + 1):
        losses, started = [], time.perf_counter()
        for batch in batches.train:
            optimizer.zero_grad()
            loss = population.losses(weights, batch)
            loss.sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            losses.append(loss.detach())
        seconds += (time.perf_counter() - started) / len(methods)
        batches.next_epoch()
        train_losses, lr = torch.stack(losses).mean(0).tolist(), float(optimizer.param_groups[0]["lr"])
        for i, model in enumerate(members):
            if best[i].exhausted(epoch - 1):
                continue
            score = finite_score(model, selection, selection_labels, epoch, settings, of=methods[i].name)
            best[i].add(epoch, score, model)
            histories[i].append(asdict(epoch_report(epoch, seconds, train_losses[i], score, lr, ratios[i])))
        if all(each.exhausted(epoch) for each in best):
            break
    found = []
    for model, kept, history, lambda_ in zip(members, best, histories, ratios, strict=True):
        for parameter in model.parameters():
            parameter.data = parameter.data.clone()
        kept.restore(model)
        trajectory = lambda_.cpu().expand(len(history) + 1, *lambda_.shape)
        epoch = kept.epoch or len(history)
        found.append(Trained(model, epoch, trajectory[epoch], trajectory, history, history[-1]["seconds"]))
    return found


class _Population:
    """N networks whose parameters are views of stacked ones, `[N, ...]`."""

    def __init__(self, members: Sequence[nn.Module], loss: TrainLoss) -> None:
        self.parameters, self._buffers = stack_module_state(list(members))
        for i, member in enumerate(members):
            for name, parameter in member.named_parameters():
                parameter.data = self.parameters[name].data[i]
        self._module = _LossModule(members[0], loss)

    def losses(self, weights: Tensor, batch: Batch) -> Tensor:
        """L_train of every member `[N]`, for weights `[N, T, T]`; all draw the same random numbers."""

        def one(state: dict[str, Tensor], weights: Tensor) -> Tensor:
            named = {f"model.{name}": tensor for name, tensor in state.items()}
            return cast(Tensor, functional_call(self._module, named, (weights, batch)))

        state = {**self.parameters, **self._buffers}
        return vmap(one, randomness="same")(state, weights)


class _LossModule(nn.Module):
    """A module whose forward is the loss, so that all of it runs on the parameters we pass."""

    def __init__(self, model: nn.Module, loss: TrainLoss) -> None:
        super().__init__()
        self.model, self._loss = model, loss

    def forward(self, weights: Tensor, batch: Any) -> Tensor:
        return self._loss(self.model, weights, batch)
