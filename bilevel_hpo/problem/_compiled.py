"""What `torch.compile` has made, taken as it was written: a compiled graph has one derivative and no forward mode."""

import contextlib
import sys
from typing import cast

import torch
from torch import nn

__all__ = ["as_written", "original"]


def original(model: nn.Module) -> nn.Module:
    """The module that `torch.compile` was given; `model` itself where it is not compiled as a whole."""
    return cast(nn.Module, model._orig_mod) if isinstance(model, _compiled_kind()) else model


def as_written() -> contextlib.AbstractContextManager[object]:
    """Inside, compiled modules and functions run without their compiled code."""
    return torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else contextlib.nullcontext()


def _compiled_kind() -> type | tuple[()]:
    """What `torch.compile` makes of a module; nothing as long as the compiler, which is slow to import, is not used."""
    dynamo = sys.modules.get("torch._dynamo.eval_frame")
    return () if dynamo is None else dynamo.OptimizedModule
