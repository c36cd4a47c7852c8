"""Trainings of GATE: prepared data and a way of choosing λ in, a trained network and its numbers out."""

from collections.abc import Callable, Sequence

import torch

from gate_model.data.batches import ExchangingBatches
from gate_model.data.prepared import PreparedData
from gate_model.model.gate import GATE
from gate_model.model.network import build_gate
from gate_model.training.by_learner import ByLearner
from gate_model.training.by_rule import ByRule
from gate_model.training.checkpoints import Checkpoints
from gate_model.training.loop import run_epochs
from gate_model.training.methods import Method
from gate_model.training.population import Population
from gate_model.training.progress import Progress
from gate_model.training.settings import Settings
from gate_model.training.trained import Trained
from gate_model.training.weighting import Rule

__all__ = ["train", "train_by_rule", "train_population"]


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
    model, batches = _start(data, settings, seed, device)
    stepper = ByLearner(model, method, settings, data.abbreviations, batches)
    (found,) = run_epochs(stepper, data, batches, settings, checkpoints=checkpoints, progress=progress)
    return found


def train_by_rule(
    data: PreparedData,
    rule: Callable[[int], Rule],
    settings: Settings,
    *,
    seed: int,
    progress: Progress | None = None,
) -> Trained:
    """Train once under a weighting rule; with all weights 1 the bits are those of `train` with constant λ.

    Args:
        data: molecules, split and scaling.
        rule: from T, a rule without a past.
        settings: hyperparameters; those that concern the learning of λ are not used.
        seed: of the initial weights, the batches, the exchange and dropout.
        progress: called after every epoch.

    Raises:
        DivergedError: the training diverged.
        ValueError: `settings` ask for half precision or relative losses.
    """
    model, batches = _start(data, settings, seed, None)
    (found,) = run_epochs(ByRule(model, rule, settings, batches), data, batches, settings, progress=progress)
    return found


def train_population(
    data: PreparedData,
    methods: Sequence[Method],
    settings: Settings,
    *,
    seed: int,
    device: torch.device | None = None,
) -> list[Trained]:
    """What `train` gives for each of N constant λ, up to rounding, in less time (docs/results/README.md says how much).

    All networks have the same initial weights, batches, exchange and dropout: those of `train` with the same seed.

    Args:
        data: molecules, split and scaling.
        methods: N ways of choosing λ; memory grows with their number.
        settings: hyperparameters; float32 only.
        seed: of the initial weights, the batches, the exchange and dropout.
        device: CPU when left out.

    Returns:
        One for each of `methods`; its seconds are an N-th of those of all.

    Raises:
        ValueError: there is no method, one that learns λ, or the precision is not float32.
        DivergedError: a network diverged.
    """
    model, batches = _start(data, settings, seed, device)
    stepper = Population(model, methods, settings, data.abbreviations, batches)
    return run_epochs(stepper, data, batches, settings, names=[method.name for method in methods])


def _start(
    data: PreparedData, settings: Settings, seed: int, device: torch.device | None
) -> tuple[GATE, ExchangingBatches]:
    """The network with its initial weights, and the batches."""
    torch.manual_seed(seed)
    device = device or torch.device("cpu")
    model = build_gate(data.featurizer.width, len(data.abbreviations), settings.network).to(device)
    return model, data.batches(settings.batch_size, settings.exchange, seed=seed, device=device)
