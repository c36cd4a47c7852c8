"""GradNorm: weights that balance the sizes of the tasks' gradients."""

import torch
from torch import Tensor

from gate_model.data.batches import Batch
from gate_model.model.gate import GATE
from gate_model.model.losses import TrainLoss
from gate_model.training.weighting._per_target import target_gradients
from gate_model.training.weighting._rule import Rule

__all__ = ["GradNorm", "gradnorm_gradient"]

_LEAST = 1e-3


def gradnorm_gradient(norms: Tensor, w: Tensor, losses: Tensor, alpha: float) -> Tensor:
    """Return the gradient of Σ_t |G_t − Ḡ·r_t^α| in w `[T]`, with the goals Ḡ·r_t^α held fixed.

    Args:
        norms: G_t = ‖∂(w_t L_t)/∂θ_shared‖ `[T]`, proportional to w_t.
        w: weights of the targets `[T]`.
        losses: L_t `[T]` relative to their start; r_t is L_t over the mean of all.
        alpha: how strongly targets that learn slowly are helped.
    """
    goals = norms.mean() * (losses / losses.mean()) ** alpha
    return torch.sign(norms - goals) * norms / w


class GradNorm(Rule):
    """Brings the targets' gradients in the last shared layer to similar norms, larger for targets that learn slowly.

    Source: Chen, Badrinarayanan, Lee, Rabinovich (2018), Algorithm 1. The last shared layer is the last weight matrix
    of the embedding. L_t(0) is the theoretical loss at the start, as the paper advises where the first loss depends on
    chance: labels are standardised, so L_t(0) is the same for all targets and cancels. A target without a label in a
    batch is left out of that batch. The weights w stay positive, and their sum stays T.

    Args:
        n_tasks: T.
        lambda_: weight of the mapping losses in L_t.
        alpha: α of the paper.
        lr: learning rate of Adam on w.
    """

    def __init__(self, n_tasks: int, lambda_: float = 1.0, alpha: float = 1.5, lr: float = 0.025) -> None:
        super().__init__(n_tasks, lambda_)
        self.alpha = alpha
        self.optimizer = torch.optim.Adam([self.weights], lr=lr)

    def backward(self, model: GATE, loss: TrainLoss, batch: Batch) -> Tensor:
        """Add the gradient at w to the parameters' `grad`, then take a step on w; returns L_train."""
        step = target_gradients(model, loss, batch, self.weights, self.lambda_)
        last = [p for p in model.embedding.parameters() if p.ndim == 2][-1]
        (per_target,) = torch.autograd.grad(step.z, [last], step.of_z, retain_graph=True, is_grads_batched=True)
        step.z.backward(step.of_z.sum(0) + step.rest_of_z)  # type: ignore[no-untyped-call]
        some = batch.mask.any(0)
        norms = per_target.flatten(1).norm(dim=1)[some]
        self.weights.grad = torch.zeros_like(self.weights)
        self.weights.grad[some] = gradnorm_gradient(norms, self.weights[some], step.losses[some], self.alpha)
        self.optimizer.step()
        self.weights.clamp_(min=_LEAST).mul_(self.n_tasks / self.weights.sum())
        return step.total
