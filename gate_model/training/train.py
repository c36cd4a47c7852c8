"""The trainings of GATE: from prepared data and a way of choosing λ to a trained network and its numbers."""

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
    """Train one network with a constant or learned λ. On the CPU the same seed gives the same bits.

    Args:
        data: molecules, split and scaling.
        method: how λ is chosen.
        settings: hyperparameters.
        seed: random seed of the initial weights, the batches, the exchange and dropout.
        device: where to train; default: the CPU.
        checkpoints: where checkpoints are written, at intervals and at the end. If there is one, training continues
            from it.
        progress: called with a report after every epoch.

    Raises:
        DivergedError: the predictions are not finite.
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
    """Train one network under a weighting rule. If all weights are 1, the bits equal those of `train` with constant λ.

    Args:
        data: molecules, split and scaling.
        rule: a function that makes a new rule from the number of tasks T.
        settings: hyperparameters; those about learning λ are not used.
        seed: random seed of the initial weights, the batches, the exchange and dropout.
        progress: called with a report after every epoch.

    Raises:
        DivergedError: the predictions are not finite.
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
    """Train N networks, each with a constant λ, together. docs/results/README.md says how much time this saves.

    Each network equals that of `train` with the same seed up to rounding: all have the same initial weights, batches,
    exchange and dropout.

    Args:
        data: molecules, split and scaling.
        methods: N methods with a constant λ; memory grows with N.
        settings: hyperparameters; the precision must be float32.
        seed: random seed of the initial weights, the batches, the exchange and dropout.
        device: where to train; default: the CPU.

    Returns:
        One `Trained` for each method; its seconds are the N-th part of the whole time.

    Raises:
        ValueError: `methods` is empty, one of them learns λ, or the precision is not float32.
        DivergedError: the predictions of a network are not finite.
    """
    model, batches = _start(data, settings, seed, device)
    stepper = Population(model, methods, settings, data.abbreviations, batches)
    return run_epochs(stepper, data, batches, settings, names=[method.name for method in methods])


def _start(
    data: PreparedData, settings: Settings, seed: int, device: torch.device | None
) -> tuple[GATE, ExchangingBatches]:
    """Return the network with its initial weights, and the batches."""
    torch.manual_seed(seed)
    device = device or torch.device("cpu")
    model = build_gate(data.featurizer.width, len(data.abbreviations), settings.network).to(device)
    return model, data.batches(settings.batch_size, settings.exchange, seed=seed, device=device)
