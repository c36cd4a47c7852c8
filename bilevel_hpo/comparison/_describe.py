"""What a method or λ is, in JSON: by it a run that is resumed knows whether it is the same."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

__all__ = ["described"]


def described(x: Any) -> Any:
    """`x` as numbers, texts, lists and dicts that do not depend on the process. Functions count by their name."""
    if x is None or isinstance(x, bool | int | float | str):
        return x
    if isinstance(x, Mapping):
        return {str(key): described(value) for key, value in x.items()}
    if isinstance(x, list | tuple):
        return [described(value) for value in x]
    if isinstance(x, Tensor):
        return x.detach().cpu().tolist()
    kind = type(x).__qualname__
    if dataclasses.is_dataclass(x) and not isinstance(x, type):
        return {"is": kind} | {field.name: described(getattr(x, field.name)) for field in dataclasses.fields(x)}
    if isinstance(x, nn.Module):
        return {"is": kind, "about": repr(x), "state": described(dict(x.state_dict()))}
    if callable(x) and hasattr(x, "__qualname__"):
        return x.__qualname__
    return {"is": kind} | described({name: value for name, value in vars(x).items() if not name.startswith("_")})
