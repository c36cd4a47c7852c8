"""PCGrad ("gradient surgery"): it removes the conflicting parts of the tasks' gradients."""

import torch
from torch import Tensor

from gate_model.data.batches import Batch
from gate_model.model.gate import GATE
from gate_model.model.losses import TrainLoss
from gate_model.training.weighting._per_target import target_gradients
from gate_model.training.weighting._rule import Rule

__all__ = ["PCGrad", "pcgrad_weights"]


def pcgrad_weights(gram: Tensor, orders: Tensor) -> Tensor:
    """Return weights `[T]` such that Σ_t weights[t]·g_t is the sum of the projected gradients.

    Each g_i is compared with the other g_j in turn. Where their product is negative, g_i is projected onto the plane
    normal to g_j. The result is a linear combination of the g's, whose coefficients depend only on the products
    ⟨g_i, g_j⟩.

    Args:
        gram: the products ⟨g_i, g_j⟩ `[T, T]`.
        orders: row i holds the order in which the j are taken `[T, T]`; j = i changes nothing.
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
    """Removes from each target's gradient in the embedding the part that works against other targets.

    Source: Yu, Kumar, Gupta, Levine, Hausman, Finn (2020), Algorithm 1. The shared parameters are those of the
    embedding. The networks of the tasks get the plain gradient of L_train, even where the network of a source serves
    several targets through the mapping losses; the geometric terms enter with their plain gradient too. With λ = 0
    nothing else is shared, and the rule is the published one; with λ > 0 this is the only simplification.
    """

    def backward(self, model: GATE, loss: TrainLoss, batch: Batch) -> Tensor:
        """Add the projected gradient to the parameters' `grad`; returns L_train."""
        step = target_gradients(model, loss, batch, self.weights, self.lambda_)
        parameters = list(model.embedding.parameters())
        of_parameters = torch.autograd.grad(step.z, parameters, step.of_z, retain_graph=True, is_grads_batched=True)
        gram = sum((g := part.flatten(1)) @ g.T for part in of_parameters)
        orders = torch.rand(self.n_tasks, self.n_tasks).argsort(1)
        weights = pcgrad_weights(torch.as_tensor(gram).double().cpu(), orders).to(step.of_z)
        step.z.backward(torch.einsum("t,tbd->bd", weights, step.of_z) + step.rest_of_z)  # type: ignore[no-untyped-call]
        return step.total
