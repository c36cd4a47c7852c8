"""Small bi-level problems in float64 with several tasks, and the real training step as an oracle."""

import copy
from abc import ABC
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from bilevel_hpo import BilevelLearner, Budget, Hypergradient, LossWeights, OneStep

N_TASKS = 3
Batch = tuple[Tensor, Tensor]
MakeOptimizer = Callable[[Any], torch.optim.Optimizer]

OPTIMIZERS: dict[str, MakeOptimizer] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.05),
    "sgd-momentum": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, dampening=0.2, weight_decay=0.03),
    "sgd-nesterov": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True),
    "adam": lambda p: torch.optim.Adam(p, lr=0.02),
    "adam-decay": lambda p: torch.optim.Adam(p, lr=0.02, weight_decay=0.1, eps=1e-3),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.02, weight_decay=0.1),
    "adamw-amsgrad": lambda p: torch.optim.AdamW(p, lr=0.02, amsgrad=True),
    "nadam": lambda p: torch.optim.NAdam(p, lr=0.02, weight_decay=0.1, decoupled_weight_decay=True),
    "radam": lambda p: torch.optim.RAdam(p, lr=0.02, betas=(0.9, 0.6), weight_decay=0.1),  # never rectified: rho <= 4
    "radam-rectified": lambda p: torch.optim.RAdam(p, lr=0.02),  # from the sixth step
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01, alpha=0.9, eps=0.01, centered=True, momentum=0.9),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.05, lr_decay=0.1, eps=1e-3),
}


def batch(seed: int, n: int = 7, n_inputs: int = 4) -> Batch:
    """x `[n, n_inputs]` and y `[n, N_TASKS]`."""
    generator = torch.Generator().manual_seed(1000 + seed)
    draw = [torch.randn(n, k, generator=generator, dtype=torch.float64) for k in (n_inputs, N_TASKS)]
    return draw[0], draw[1]


def net(*extra: nn.Module, seed: int = 0, n_inputs: int = 4) -> nn.Module:
    """A smooth network `[n, n_inputs]` -> `[n, N_TASKS]`, with `extra` modules in its hidden layer of 5."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(n_inputs, 5), nn.Tanh(), *extra, nn.Linear(5, N_TASKS)).double()


def task_losses(model: nn.Module, data: Batch) -> Tensor:
    """MSE of every task, `[N_TASKS]`."""
    x, y = data
    return (model(x) - y).square().mean(0)


def weighted(model: nn.Module, weights: Tensor, data: Batch) -> Tensor:
    """Σ λ_t · MSE_t; the direct and the transfer losses of a matrix λ share the task's residuals."""
    losses = task_losses(model, data)
    if weights.ndim == 1:
        return weights @ losses
    x, y = data
    prediction = model(x)
    pairs = (prediction[:, None, :] * (1.0 + 0.1 * prediction[:, :, None]) - y[:, :, None]).square().mean(0)
    return (weights * pairs).sum()


def plain(model: nn.Module, weights: Tensor, data: Batch) -> Tensor:
    """A validation loss that does not name λ."""
    return (task_losses(model, data) * torch.tensor([1.0, 0.5, 2.0], dtype=torch.float64)).sum()


def named(model: nn.Module, weights: Tensor, data: Batch) -> Tensor:
    """A validation loss that names λ too."""
    return plain(model, weights, data) + 0.1 * weighted(model, weights.square(), data)


def decayed(model: nn.Module, weights: Tensor, data: Batch) -> Tensor:
    """λ as strengths of weight decay: one per parameter, as many as there are."""
    penalties = [p.square().sum() for p in model.parameters()]
    return task_losses(model, data).sum() + sum(
        weights[i % len(weights)] * penalty for i, penalty in enumerate(penalties)
    )


class Fixed(nn.Module):
    """The simplest `weights`: raw is λ."""

    def __init__(self, lambda_: Tensor) -> None:
        super().__init__()
        self.raw = nn.Parameter(lambda_.clone())

    def forward(self) -> Tensor:
        return self.raw * 1.0

    def project_(self) -> None:
        pass


LAMBDA = torch.tensor([0.7, 1.3, 0.4], dtype=torch.float64)


def copied(model: nn.Module) -> nn.Module:
    """A deep copy; old `weight_norm` leaves a tensor with a graph as `weight`, which cannot be copied."""
    for module in model.modules():
        weight = module.__dict__.get("weight")
        if type(weight) is Tensor:
            module.weight = weight.detach()
    return copy.deepcopy(model)


@dataclass
class Case:
    """A learner in mid-training, with an oracle that takes real steps on copies of it."""

    model: nn.Module
    make: MakeOptimizer = OPTIMIZERS["adam"]
    train_loss: Callable[[Any, Tensor, Any], Tensor] = weighted
    val_loss: Callable[[Any, Tensor, Any], Tensor] = plain
    lambda_: Tensor = field(default_factory=LAMBDA.clone)
    warm: int = 5
    parameters: Callable[[nn.Module], Any] = nn.Module.parameters

    def __post_init__(self) -> None:
        self.optimizer = self.make(self.parameters(self.model))
        torch.manual_seed(5)
        for i in range(self.warm):
            self._step(self.model, self.optimizer, self.lambda_, batch(10 + i))

    def learner(self, estimator: Hypergradient | None = None, **options: Any) -> BilevelLearner:
        return BilevelLearner(
            self.model,
            self.optimizer,
            Fixed(self.lambda_),
            train_loss=options.pop("train_loss", self.train_loss),
            val_loss=options.pop("val_loss", self.val_loss),
            hypergradient=estimator or OneStep(),
            **options,
        )

    def g(self, estimator: Hypergradient, train: Any = None, val: Any = None, **options: Any) -> Tensor:
        """The estimate, drawn from the same random state as the oracle's."""
        torch.manual_seed(9)
        learner = self.learner(estimator, **options)
        g = learner.hypergradient(batch(1) if train is None else train, val or batch(2))
        assert isinstance(g, Tensor)
        return g

    def after_real_steps(self, lambda_: Tensor, train: Sequence[Batch], val: Batch, constant: int = 0) -> Tensor:
        """L_val(θ_K, λ) after K steps of `torch.optim` itself on copies; the first `constant` at `self.lambda_`."""
        model = copied(self.model)
        optimizer = self.make(self.parameters(model))
        optimizer.load_state_dict(copy.deepcopy(self.optimizer.state_dict()))
        torch.manual_seed(9)
        for number, data in enumerate(train):
            self._step(model, optimizer, self.lambda_ if number < constant else lambda_, data)
        with torch.no_grad():
            return self.val_loss(model.eval(), lambda_, val)

    def finite_difference(self, train: Sequence[Batch] | None = None, h: float = 2e-3, constant: int = 0) -> Tensor:
        """Central differences of `after_real_steps`, Richardson-extrapolated to O(h⁴)."""
        train, val = [batch(1)] if train is None else train, batch(2)

        def central(direction: Tensor, h: float) -> Tensor:
            up = self.after_real_steps(self.lambda_ + h * direction, train, val, constant)
            down = self.after_real_steps(self.lambda_ - h * direction, train, val, constant)
            return (up - down) / (2 * h)

        basis = torch.eye(self.lambda_.numel(), dtype=torch.float64).reshape(-1, *self.lambda_.shape)
        slopes = [(4 * central(e, h / 2) - central(e, h)) / 3 for e in basis]
        return torch.stack(slopes).reshape(self.lambda_.shape)

    def _step(self, model: nn.Module, optimizer: torch.optim.Optimizer, lambda_: Tensor, data: Batch) -> None:
        optimizer.zero_grad()
        self.train_loss(model, lambda_, data).backward()
        optimizer.step()


class AbstractNet(nn.Module, ABC):
    """`higher` cannot patch a module whose class is made by ABCMeta."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = net()

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


class Tied(nn.Module):
    """One weight in two places."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, N_TASKS)
        self.b.weight = self.a.weight
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.b(torch.tanh(self.a(x)))))


class Attention(nn.Module):
    """Self-attention over the batch's rows."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.attention, self.head = nn.MultiheadAttention(4, 2, batch_first=True), nn.Linear(4, N_TASKS)
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.attention(x[None], x[None], x[None], need_weights=False)[0][0])


class Recurrent(nn.Module):
    """A GRU that reads the inputs as a sequence."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.gru, self.head = nn.GRU(1, 3, batch_first=True), nn.Linear(3, N_TASKS)
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.gru(x[..., None])[0][:, -1])


class Bag(nn.Module):
    """EmbeddingBag: an operation without forward mode."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.bag, self.head = nn.EmbeddingBag(8, 5), nn.Linear(5, N_TASKS)
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.bag((x.abs() * 4).long().clamp(max=7))))


class Reassigned(nn.Module):
    """A running statistic kept by assignment, not in place."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.inner = net()
        self.register_buffer("mean", torch.zeros(4, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.mean = 0.5 * self.mean + 0.5 * x.detach().mean(0)
        return self.inner(x - self.mean)


class Shuffled:
    """Batches in an order drawn anew for every pass from torch's generator, as a shuffling DataLoader draws it."""

    def __init__(self, batches: Sequence[Batch]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        return (self.batches[i] for i in torch.randperm(len(self.batches)).tolist())


def budget_learner(model: nn.Module, names: Sequence[str], **options: Any) -> BilevelLearner:
    """Adam inside, a Budget over `names` outside."""
    weights = LossWeights(names, constraint=Budget()).double()
    return BilevelLearner(
        model,
        options.pop("inner_optimizer", None) or torch.optim.Adam(model.parameters(), lr=0.02),
        weights,
        train_loss=options.pop("train_loss", weighted),
        val_loss=options.pop("val_loss", plain),
        **options,
    )
