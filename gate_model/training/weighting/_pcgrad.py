"""PCGrad: gradient surgery."""

import torch
from torch import Tensor

from gate_model.data.batches import Batch
from gate_model.model.gate import GATE
from gate_model.model.losses import TrainLoss
from gate_model.training.weighting._per_target import target_gradients
from gate_model.training.weighting._rule import Rule

__all__ = ["PCGrad", "pcgrad_weights"]


def pcgrad_weights(gram: Tensor, orders: Tensor) -> Tensor:
    """Weights `[T]` with which Σ_t weights[t]·g_t is the sum of the projected gradients.

    Each g_i is projected, for the others g_j in turn, onto the plane normal to g_j where their product is negative. All
    that comes of it is a combination of the g's, whose coefficients need no more than the products ⟨g_i, g_j⟩.

    Args:
        gram: ⟨g_i, g_j⟩ `[T, T]`.
        orders: for each i the order of the j `[T, T]`; j = i changes nothing.
    """
    coefficients = torch.eye(len(gram), dtype=gram.dtype)
    everyone = torch.arange(len(gram))
    squared = gram.diagonal()
    for j in orders.T:
        product = (coefficients * gram[:, j].T).sum(1)
        against = (product < 0) & (squared[j] > 0) & (j != everyone)
        coefficients[everyone, j] -= torch.where(against, product / squared[j].clamp_min(1e-30), 0)
    return coefficients.sum(0)


class PCGrad(Rule):
    """The targets' gradients in the embedding, each without what works against the others.

    Source: Yu, Kumar, Gupta, Levine, Hausman, Finn (2020), Algorithm 1. Shared parameters are those of the embedding;
    the task networks get the plain gradient of L_train, also where a source's network serves several targets through
    the mapping losses, and so does everything that comes from the geometric terms. With λ = 0 nothing else is shared,
    and the rule is the published one; with λ > 0 that is its one simplification.
    """

    def backward(self, model: GATE, loss: TrainLoss, batch: Batch) -> Tensor:
        """The projected gradient."""
        step = target_gradients(model, loss, batch, self.weights, self.lambda_)
        parameters = list(model.embedding.parameters())
        of_parameters = torch.autograd.grad(step.z, parameters, step.of_z, retain_graph=True, is_grads_batched=True)
        gram = sum((g := part.flatten(1)) @ g.T for part in of_parameters)
        orders = torch.rand(self.n_tasks, self.n_tasks).argsort(1)
        weights = pcgrad_weights(torch.as_tensor(gram).double().cpu(), orders).to(step.of_z)
        step.z.backward(torch.einsum("t,tbd->bd", weights, step.of_z) + step.rest_of_z)  # type: ignore[no-untyped-call]
        return step.total
