"""Rules from the literature that weight the losses of the tasks during a training, to compare with learned λ."""

from gate_model.training.weighting._auto_lambda import AutoLambda
from gate_model.training.weighting._decay import Decay
from gate_model.training.weighting._dwa import DynamicWeightAverage, dwa_weights
from gate_model.training.weighting._gradnorm import GradNorm, gradnorm_gradient
from gate_model.training.weighting._pcgrad import PCGrad, pcgrad_weights
from gate_model.training.weighting._per_target import TargetGradients, target_gradients, target_losses
from gate_model.training.weighting._rule import Rule, target_weights
from gate_model.training.weighting._uncertainty import Uncertainty

__all__ = [
    "AutoLambda",
    "Decay",
    "DynamicWeightAverage",
    "GradNorm",
    "PCGrad",
    "Rule",
    "TargetGradients",
    "Uncertainty",
    "dwa_weights",
    "gradnorm_gradient",
    "pcgrad_weights",
    "target_gradients",
    "target_losses",
    "target_weights",
]
