"""Undo `torch.compile`: a compiled graph can be differentiated only once and has no forward mode."""

import contextlib
import sys
from typing import cast

import torch
from torch import nn

__all__ = ["as_written", "original"]


def original(model: nn.Module) -> nn.Module:
    """Returns the module that `torch.compile` received; `model` itself if it is not compiled as a whole."""
    return cast(nn.Module, model._orig_mod) if isinstance(model, _compiled_kind()) else model


def as_written() -> contextlib.AbstractContextManager[object]:
    """Runs compiled modules and functions inside without their compiled code."""
    return torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else contextlib.nullcontext()


def _compiled_kind() -> type | tuple[()]:
    """Returns the class of compiled modules; nothing as long as the compiler, which is slow to import, is not used."""
    dynamo = sys.modules.get("torch._dynamo.eval_frame")
    return () if dynamo is None else dynamo.OptimizedModule
