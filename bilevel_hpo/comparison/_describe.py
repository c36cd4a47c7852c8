"""Describe a method or λ in JSON, so that a resumed run can check that it is the same."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

__all__ = ["described"]


def described(x: Any) -> Any:
    """Returns `x` in JSON, the same in every process. Functions are described by their name."""
    if x is None or isinstance(x, bool | int | float | str):
        found: Any = x
    elif isinstance(x, Mapping):
        found = {str(key): described(value) for key, value in x.items()}
    elif isinstance(x, list | tuple):
        found = [described(value) for value in x]
    elif isinstance(x, Tensor):
        found = x.detach().cpu().tolist()
    elif isinstance(x, nn.Module):
        found = {"is": type(x).__qualname__, "about": repr(x), "state": described(dict(x.state_dict()))}
    elif callable(x) and hasattr(x, "__qualname__"):
        found = x.__qualname__
    else:
        public = {name: value for name, value in vars(x).items() if not name.startswith("_")}
        found = {"is": type(x).__qualname__} | described(public)
    return found
