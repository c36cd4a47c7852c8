"""Every function that forward mode is trusted with, against reverse mode: the derivative in λ of the slope in θ."""

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.nn import functional

from bilevel_hpo.hypergradients._proven import PROVEN, ProvenOnly, UnprovenError

ROWS, COLUMNS = 4, 3


def fixed(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


SQUARE, VECTOR, TARGET = fixed(COLUMNS, COLUMNS), fixed(COLUMNS, seed=1), fixed(ROWS, COLUMNS, seed=2)
LABELS = (TARGET > 0).double()

ONE = {
    "abs": torch.abs,
    "exp": torch.exp,
    "expm1": torch.expm1,
    "log": lambda y: torch.log(y.square() + 0.1),
    "log1p": lambda y: torch.log1p(y.square()),
    "log2": lambda y: torch.log2(y.square() + 0.1),
    "logsigmoid": functional.logsigmoid,
    "mean": lambda y: torch.mean(y, 0) * y.mean(),
    "neg": lambda y: -y,
    "negative": torch.negative,
    "norm": lambda y: torch.norm(y, dim=1) * y.norm(),
    "prod": lambda y: torch.prod(y, 1) * y.prod(),
    "reciprocal": lambda y: torch.reciprocal(y + 9),
    "relu": torch.relu,
    "rsqrt": lambda y: torch.rsqrt(y + 9),
    "sigmoid": torch.sigmoid,
    "sin": torch.sin,
    "cos": torch.cos,
    "softplus": functional.softplus,
    "sqrt": lambda y: torch.sqrt(y + 9),
    "square": torch.square,
    "std": lambda y: torch.std(y, 0) * y.std(),
    "sum": lambda y: torch.sum(y, 1) * y.sum() * y.sum(0, keepdim=True).square().sum(),
    "tanh": torch.tanh,
    "var": lambda y: torch.var(y, 0) * y.var(),
    "amax": lambda y: torch.amax(y, 0) * y.amax(),
    "amin": lambda y: torch.amin(y, 0) * y.amin(),
    "clamp": lambda y: torch.clamp(y, -0.5, 0.5) * y.clamp(min=0),
    "clip": lambda y: torch.clip(y, -0.5, 0.5) * y,
    "max": lambda y: torch.max(y, 0).values.square() * y.max(),
    "min": lambda y: torch.min(y, 0).values.square() * y.min(),
    "sort": lambda y: torch.sort(y, 0).values.square() * y.sort(1).values,
    "cumsum": lambda y: torch.cumsum(y, 0).square(),
    "diag": lambda y: torch.diag(y[:COLUMNS]).square(),
    "diagonal": lambda y: torch.diagonal(y).square(),
    "broadcast_to": lambda y: torch.broadcast_to(y, (2, ROWS, COLUMNS)).square(),
    "cat": lambda y: torch.cat([y, y.square()]).square(),
    "chunk": lambda y: torch.chunk(y, 2)[0].square(),
    "clone": lambda y: torch.clone(y).square(),
    "concat": lambda y: torch.concat([y, y.square()]).square(),
    "contiguous": lambda y: y.T.contiguous().square(),
    "expand": lambda y: y.expand(2, ROWS, COLUMNS).square(),
    "expand_as": lambda y: y.expand_as(torch.zeros(2, ROWS, COLUMNS)).square(),
    "flatten": lambda y: torch.flatten(y).square(),
    "flip": lambda y: torch.flip(y, [0]).square(),
    "gather": lambda y: torch.gather(y, 1, torch.tensor([[0], [2], [1], [1]])).square(),
    "getitem": lambda y: y[:, 1:].square().sum() + y[torch.tensor([0, 0, 2])].square().sum(),
    "index_select": lambda y: torch.index_select(y, 1, torch.tensor([0, 0, 2])).square(),
    "masked_select": lambda y: torch.masked_select(y, TARGET > 0).square(),
    "movedim": lambda y: torch.movedim(y, 0, 1).square(),
    "narrow": lambda y: torch.narrow(y, 0, 1, 2).square(),
    "permute": lambda y: torch.permute(y, (1, 0)).square(),
    "ravel": lambda y: torch.ravel(y).square(),
    "repeat": lambda y: y.repeat(2, 1).square(),
    "reshape": lambda y: torch.reshape(y, (COLUMNS, ROWS)).square(),
    "reshape_as": lambda y: y.reshape_as(torch.zeros(COLUMNS, ROWS)).square(),
    "select": lambda y: torch.select(y, 0, 1).square(),
    "squeeze": lambda y: torch.squeeze(y[:, :1]).square(),
    "split": lambda y: torch.split(y, 2)[1].square(),
    "stack": lambda y: torch.stack([y, y.square()]).square(),
    "swapaxes": lambda y: torch.swapaxes(y, 0, 1).square(),
    "take": lambda y: torch.take(y, torch.tensor([0, 5, 5])).square(),
    "tile": lambda y: torch.tile(y, (2,)).square(),
    "transpose": lambda y: torch.transpose(y, 0, 1).square() @ y.T.mT.square() * y.mT.square().sum(),
    "t": lambda y: torch.t(y).square(),
    "unbind": lambda y: torch.unbind(y)[1].square(),
    "unflatten": lambda y: torch.unflatten(y, 0, (2, 2)).square(),
    "unsqueeze": lambda y: torch.unsqueeze(y, 0).square(),
    "view": lambda y: y.view(COLUMNS, ROWS).square(),
    "view_as": lambda y: y.view_as(torch.zeros(COLUMNS, ROWS)).square(),
    "double": lambda y: y.double().square(),
    "float": lambda y: y.float().double().square(),
    "to": lambda y: y.to(torch.float64).square(),
    "type_as": lambda y: y.type_as(TARGET).square(),
    "elu": functional.elu,
    "gelu": lambda y: functional.gelu(y) * functional.gelu(y, approximate="tanh"),
    "hardswish": functional.hardswish,
    "leaky_relu": functional.leaky_relu,
    "selu": functional.selu,
    "celu": functional.celu,
    "dropout": lambda y: functional.dropout(y, 0.5).square(),
    "binary_cross_entropy": lambda y: functional.binary_cross_entropy(torch.sigmoid(y), LABELS),
    "huber_loss": lambda y: functional.huber_loss(y, TARGET),
    "smooth_l1_loss": lambda y: functional.smooth_l1_loss(y, TARGET),
    "rms_norm": lambda y: functional.rms_norm(y, (COLUMNS,)),
    "group_norm": lambda y: functional.group_norm(y[..., None], 1),
}
"""Functions of y `[ROWS, COLUMNS]`."""

TWO = {
    "add": lambda a, b: torch.add(a, b).square() * (a + b + 1),
    "addcdiv": lambda a, b: torch.addcdiv(a, b, a + 9).square(),
    "addcmul": lambda a, b: torch.addcmul(a, b, a).square(),
    "addmm": lambda a, b: torch.addmm(TARGET, a, b[:COLUMNS]).square(),
    "addmv": lambda a, b: torch.addmv(TARGET[:, 0], a, b[0]).square(),
    "baddbmm": lambda a, b: torch.baddbmm(TARGET[None], a[None], b[None, :COLUMNS]).square(),
    "bmm": lambda a, b: torch.bmm(a[None], b[None, :COLUMNS]).square(),
    "div": lambda a, b: torch.div(a, b + 9) * (a / (b + 9)),
    "dot": lambda a, b: torch.dot(a[0], b[1]).square(),
    "einsum": lambda a, b: torch.einsum("ij,kj->ik", a, b).square(),
    "inner": lambda a, b: torch.inner(a, b).square(),
    "linear": lambda a, b: functional.linear(a, b, b[:, 0]).square(),
    "matmul": lambda a, b: torch.matmul(a, b.T) * (a @ b.T),
    "mm": lambda a, b: torch.mm(a, b.T).square(),
    "mul": lambda a, b: torch.mul(a, b) * a * b * 2.0,
    "multiply": lambda a, b: torch.multiply(a, b).square(),
    "mv": lambda a, b: torch.mv(a, b[0]).square(),
    "outer": lambda a, b: torch.outer(a[0], b[1]).square(),
    "pow": lambda a, b: torch.pow(a + 9, b) * a**2 * (a + 9) ** b * 2**a,
    "rsub": lambda a, b: torch.rsub(a, b).square() * (1 - a),
    "sub": lambda a, b: torch.sub(a, b).square() * (a - b),
    "subtract": lambda a, b: torch.subtract(a, b).square(),
    "tensordot": lambda a, b: torch.tensordot(a, b, dims=([1], [1])).square(),
    "true_divide": lambda a, b: torch.true_divide(a, b + 9).square(),
    "truediv": lambda a, b: (1 / (a + 9)) * (a / (b + 9)),
    "maximum": lambda a, b: torch.maximum(a, b.flip(0)).sum(1),
    "minimum": lambda a, b: torch.minimum(a, b.flip(0)).sum(1),
    "where": lambda a, b: torch.where(TARGET > 0, a, b).sum(1),
    "conv1d": lambda a, b: functional.conv1d(a[None], b.T[..., None]).square(),
    "conv2d": lambda a, b: functional.conv2d(a[None, None], b[None, None, :2, :2]).square(),
    "prelu": lambda a, b: functional.prelu(a, b[0]),
    "binary_cross_entropy_with_logits": lambda a, b: functional.binary_cross_entropy_with_logits(a * b, LABELS),
    "cosine_similarity": functional.cosine_similarity,
    "l1_loss": lambda a, b: functional.l1_loss(a, b.flip(0)).square(),
    "mse_loss": lambda a, b: functional.mse_loss(a, b.flip(0)).square(),
}
"""Functions of a and b `[ROWS, COLUMNS]`."""


def slope_in_theta(loss, theta, lambda_, direction):
    """∂/∂λ (d/dε) loss(θ + ε·direction, λ): by forward mode, and by reverse mode."""
    lambda_ = lambda_.clone().requires_grad_()
    with forward_ad.dual_level():
        torch.manual_seed(0)
        with ProvenOnly():
            value = loss(forward_ad.make_dual(theta, direction), lambda_)
        tangent = forward_ad.unpack_dual(value).tangent
    (forward,) = torch.autograd.grad(tangent, lambda_)
    theta = theta.clone().requires_grad_()
    torch.manual_seed(0)
    (g,) = torch.autograd.grad(loss(theta, lambda_), theta, create_graph=True)
    (reverse,) = torch.autograd.grad((g * direction).sum(), lambda_)
    return forward, reverse


def right(loss):
    theta, lambda_, direction = (fixed(ROWS, COLUMNS, seed=seed) for seed in (5, 6, 7))
    forward, reverse = slope_in_theta(loss, theta, lambda_, direction)
    assert reverse.any()
    torch.testing.assert_close(forward, reverse, rtol=1e-9, atol=1e-12)


def scalar(y):
    """A sum in which every entry has a weight of its own; smooth, so that there is a second derivative."""
    return (torch.tanh(0.3 * y) * (fixed(*y.shape, seed=9) if y.ndim else 2.0)).sum()


@pytest.mark.parametrize("name", ONE)
def test_a_function_of_one_argument(name):
    if name == "float":
        pytest.skip("rounds to float32")
    right(lambda theta, lambda_: scalar(ONE[name](theta * lambda_)))


@pytest.mark.parametrize("name", TWO)
def test_a_function_of_two_arguments_with_theta_and_lambda_in_either_and_in_both(name):
    right(lambda theta, lambda_: scalar(TWO[name](theta * lambda_, lambda_.sin() + theta)))
    right(lambda theta, lambda_: scalar(TWO[name](theta, lambda_)))
    right(lambda theta, lambda_: scalar(TWO[name](lambda_, theta)))


@pytest.mark.parametrize("in_place", ["add_", "mul_", "sub_", "div_", "clamp_min_"])
def test_a_function_in_place(in_place):
    def loss(theta, lambda_):
        y = theta * 1.0
        return scalar(getattr(y, in_place)(lambda_.square() + 1).square())

    if in_place == "clamp_min_":
        with pytest.raises(UnprovenError):
            right(loss)
    else:
        right(loss)


def test_every_proven_function_has_a_case():
    assert {*ONE, *TWO} == PROVEN


@pytest.mark.parametrize(
    "function",
    [
        lambda y: torch.softmax(y, 1),
        lambda y: torch.logsumexp(y, 1),
        lambda y: y.log_softmax(1),
        lambda y: functional.cross_entropy(y, TARGET.argmax(1)),
        lambda y: functional.layer_norm(y, (COLUMNS,)),
        lambda y: functional.batch_norm(y, None, None, training=True),
        lambda y: torch.linalg.solve(y[:COLUMNS], VECTOR),
        nn.LayerNorm(COLUMNS).double().requires_grad_(False),
    ],
)
def test_what_torch_gets_wrong_is_not_proven(function):
    with pytest.raises(UnprovenError):
        right(lambda theta, lambda_: scalar(function(theta * lambda_)))
    right(lambda theta, lambda_: scalar(function(theta)) * (theta * lambda_).sum())
    right(lambda theta, lambda_: scalar(function(lambda_)) * (theta * lambda_).sum())


def test_what_says_something_about_a_tensor_is_no_function_of_it():
    def loss(theta, lambda_):
        y = theta * lambda_
        assert y.shape == (ROWS, COLUMNS)
        assert y.size(0) == len(y) == ROWS
        assert y.isfinite().all()
        assert (y > -1e9).all()
        return scalar(y[y.argmax(0)] * y.detach().sign()[:COLUMNS] * y.shape[0]) + y.sum().item() * y.sum()

    right(loss)
