"""The fused tangents against torch's own forward mode."""

import contextlib
from itertools import product

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from bilevel_hpo.hypergradients._fused import FusedTangents

CASES = {
    "linear": (functional.linear, [(5, 3), (4, 3), (4,)]),
    "linear, more dimensions": (functional.linear, [(2, 5, 3), (4, 3), (4,)]),
    "linear without bias": (functional.linear, [(5, 3), (4, 3)]),
    "addmm": (torch.addmm, [(4,), (5, 3), (3, 4)]),
    "addmm with options": (lambda *a: torch.addmm(*a, beta=0.5), [(4,), (5, 3), (3, 4)]),
    "baddbmm": (torch.baddbmm, [(2, 1, 4), (2, 5, 3), (2, 3, 4)]),
    "mm": (torch.mm, [(5, 3), (3, 4)]),
    "bmm": (torch.bmm, [(2, 5, 3), (2, 3, 4)]),
    "@": (lambda a, b: a @ b, [(2, 5, 3), (3, 4)]),
    "dot": (torch.matmul, [(3,), (3,)]),
    "+": (lambda a, b: a + b, [(2, 5, 3), (3,)]),
    "-": (lambda a, b: a - b, [(5, 1), (5, 3)]),
    "- with a factor": (lambda a, b: torch.sub(a, b, alpha=2), [(5,), (5,)]),
    "+ a number": (lambda a: a + 1.5, [(5,)]),
    "square": (torch.square, [(5,)]),
    "silu": (functional.silu, [(5,)]),
    "gelu": (functional.gelu, [(5,)]),
    "gelu, tanh": (lambda x: functional.gelu(x, approximate="tanh"), [(5,)]),
    "tanh": (torch.tanh, [(5,)]),
    "sigmoid": (torch.sigmoid, [(5,)]),
    "silu in place": (lambda x: functional.silu(x.clone(), inplace=True), [(5,)]),
}


def with_and_without(function, tensors, tangents, some):
    """Value and tangent by the fused rules, and by torch."""
    for mode in (FusedTangents(), contextlib.nullcontext()):
        with forward_ad.dual_level(), mode:
            dual = [forward_ad.make_dual(x, dx) if s else x for x, dx, s in zip(tensors, tangents, some, strict=True)]
            yield forward_ad.unpack_dual(function(*dual))


@pytest.mark.parametrize("name", CASES)
def test_values_and_tangents_are_those_of_torch(name):
    function, shapes = CASES[name]
    torch.manual_seed(0)
    tensors, tangents = ([torch.randn(shape, dtype=torch.float64) for shape in shapes] for _ in range(2))  # type: ignore[attr-defined]
    for some in product([True, False], repeat=len(shapes)):
        if any(some):
            ours, theirs = with_and_without(function, tensors, tangents, some)
            torch.testing.assert_close(ours.primal, theirs.primal)
            torch.testing.assert_close(ours.tangent.expand_as(ours.primal), theirs.tangent.expand_as(theirs.primal))


def test_what_lambda_passes_through_is_left_to_torch():
    """The derivative in λ of a tangent, where λ scales the input of a layer."""
    torch.manual_seed(0)
    x, w, dw = (torch.randn(3, 3, dtype=torch.float64) for _ in range(3))
    found = []
    for mode in (FusedTangents(), contextlib.nullcontext()):
        lambda_ = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
        with forward_ad.dual_level():
            dual = forward_ad.make_dual(w, dw)
            with mode:
                y = torch.tanh(functional.linear(lambda_ * x, dual)).sum()
            found.append(torch.autograd.grad(forward_ad.unpack_dual(y).tangent, lambda_)[0])
    torch.testing.assert_close(found[0], found[1])
    assert found[0] != 0


class Products(TorchDispatchMode):
    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func._schema.name in ("aten::mm", "aten::addmm", "aten::addmm_", "aten::bmm", "aten::baddbmm_")
        return func(*args, **(kwargs or {}))


def test_only_the_products_that_are_not_zero_are_taken():
    """Two for a first layer, whose input does not move, and three for each other one."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 6))
    params = {name: p.detach() for name, p in net.named_parameters()}
    with forward_ad.dual_level(), FusedTangents(), Products() as products:
        dual = {name: forward_ad.make_dual(p, torch.ones_like(p)) for name, p in params.items()}
        torch.func.functional_call(net, dual, (torch.randn(7, 4),))
    assert products.count == 5
