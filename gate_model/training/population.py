"""The stepper for a population: many networks that differ only in their constant λ are trained together."""

import copy
import time
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from gate_model.data.batches import Batch, ExchangingBatches
from gate_model.model.gate import GATE
from gate_model.model.losses import TrainLoss
from gate_model.training.methods import Method
from gate_model.training.schedules import scheduler
from gate_model.training.settings import Settings
from gate_model.training.stepper import Passed, Stepper

__all__ = ["Population"]


class Population(Stepper):
    """N copies of a network, each with the constant λ of one method.

    The parameters of all copies are stacked in tensors `[N, ...]`, so that each operation is called once for all of
    them.

    Args:
        model: the network to copy.
        methods: N methods with a constant λ.
        settings: hyperparameters.
        tasks: names of the T tasks.
        batches: train and validation batches.

    Raises:
        ValueError: there is no method, one that learns λ, or the precision is not float32.
    """

    def __init__(
        self,
        model: GATE,
        methods: Sequence[Method],
        settings: Settings,
        tasks: tuple[str, ...],
        batches: ExchangingBatches,
    ) -> None:
        if not methods:
            raise ValueError("methods is empty: it must hold at least one constant λ")
        if learned := [method.name for method in methods if method.learning is not None]:
            raise ValueError(f"methods: {', '.join(learned)} learn λ; a population has constant λ only")
        if settings.precision != "float32":
            raise ValueError(f"precision={settings.precision!r}: a population trains in float32")
        device = next(model.parameters()).device
        self.networks, self._batches = [copy.deepcopy(model) for _ in methods], batches
        self._stacked = _Stacked(self.networks, methods[0].losses.of(settings).train)
        self._ratios = [method.ratios(tasks)().detach().to(device) for method in methods]
        parameters = self._stacked.parameters.values()
        self._optimizer = torch.optim.AdamW(parameters, lr=settings.lr, weight_decay=settings.weight_decay, fused=True)
        self._schedule = scheduler(settings.schedule, self._optimizer, settings.epochs * len(batches.train))
        self._seconds, self._epochs = 0.0, 0

    def epoch(self) -> Passed:
        """Train all networks for one epoch. The seconds of each network are the N-th part of the whole time."""
        losses, started, weights = [], time.perf_counter(), torch.stack(self._ratios)
        for batch in self._batches.train:
            self._optimizer.zero_grad()
            loss = self._stacked.losses(weights, batch)
            loss.sum().backward()  # type: ignore[no-untyped-call]
            self._optimizer.step()
            self._schedule.step()
            losses.append(loss.detach())
        self._seconds += (time.perf_counter() - started) / len(self.networks)
        self._epochs += 1
        return Passed(self._seconds, torch.stack(losses).mean(0).tolist(), float(self._optimizer.param_groups[0]["lr"]))

    def trajectory(self, place: int) -> Tensor:
        """Return the constant λ, repeated for the start and every epoch."""
        lambda_ = self._ratios[place]
        trajectory: Tensor = lambda_.cpu().expand(self._epochs + 1, *lambda_.shape)
        return trajectory

    def finish(self) -> None:
        """Give every network parameters of its own instead of views of the stacked ones."""
        for network in self.networks:
            for parameter in network.parameters():
                parameter.data = parameter.data.clone()


class _Stacked:
    """N networks whose parameters are views of stacked tensors `[N, ...]`."""

    def __init__(self, members: Sequence[nn.Module], loss: TrainLoss) -> None:
        self.parameters, self._buffers = stack_module_state(list(members))
        for i, member in enumerate(members):
            for name, parameter in member.named_parameters():
                parameter.data = self.parameters[name].data[i]
        self._module = _LossModule(members[0], loss)

    def losses(self, weights: Tensor, batch: Batch) -> Tensor:
        """Return L_train of every member `[N]` for weights `[N, T, T]`. All members draw the same random numbers."""

        def one(state: dict[str, Tensor], weights: Tensor) -> Tensor:
            named = {f"model.{name}": tensor for name, tensor in state.items()}
            return cast(Tensor, functional_call(self._module, named, (weights, batch)))

        state = {**self.parameters, **self._buffers}
        return vmap(one, randomness="same")(state, weights)


class _LossModule(nn.Module):
    """A module whose forward pass is the loss, so that `functional_call` runs all of it on the given parameters."""

    def __init__(self, model: nn.Module, loss: TrainLoss) -> None:
        super().__init__()
        self.model, self._loss = model, loss

    def forward(self, weights: Tensor, batch: Any) -> Tensor:
        return self._loss(self.model, weights, batch)
