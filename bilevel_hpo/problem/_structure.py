"""Convert λ between its form in the losses (a tensor, or a tuple or dict of tensors) and one flat vector."""

from itertools import pairwise

import torch
from torch import Tensor

__all__ = ["Lambda", "Structure"]

Lambda = Tensor | tuple[Tensor, ...] | dict[str, Tensor]
"""What a `weights` module returns, and what the loss functions receive."""


class Structure:
    """The shapes of one λ; converts it to a vector `[N]` and back.

    Args:
        example: a λ, with all tensors of one dtype on one device.
    """

    def __init__(self, example: Lambda) -> None:
        self._keys = tuple(example) if isinstance(example, dict) else None
        self._single = isinstance(example, Tensor)
        parts = self.parts(example)
        kinds = {(part.dtype, part.device) for part in parts}
        if len(kinds) != 1 or not all(part.is_floating_point() for part in parts):
            came = ", ".join(sorted(f"{dtype} on {device}" for dtype, device in kinds)) or "no tensor"
            raise TypeError(
                f"weights() must return floating-point tensors of one dtype on one device; it returned {came}"
            )
        self.shapes = [part.shape for part in parts]
        ends = torch.tensor([0, *(part.numel() for part in parts)]).cumsum(0).tolist()
        self._ranges = list(pairwise(ends))

    @staticmethod
    def parts(lambda_: Lambda) -> list[Tensor]:
        """Returns the tensors of λ in order; raises TypeError for anything else."""
        parts = (lambda_,) if isinstance(lambda_, Tensor) else lambda_
        parts = tuple(parts.values()) if isinstance(parts, dict) else parts
        if not isinstance(parts, tuple) or not all(isinstance(part, Tensor) for part in parts):
            came = type(lambda_).__name__
            raise TypeError(f"weights() must return a tensor, or a tuple or dict of tensors; it returned {came}")
        return list(parts)

    def flatten(self, lambda_: Lambda) -> Tensor:
        """Returns λ as one vector `[N]`; a dict in the order of its first call, whatever its order is now."""
        if self._keys is not None and isinstance(lambda_, dict) and set(lambda_) == set(self._keys):
            lambda_ = {key: lambda_[key] for key in self._keys}
        parts = [part.reshape(-1) for part in self.parts(lambda_)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def unflatten(self, flat: Tensor) -> Lambda:
        """Returns the vector `[N]`, or rows `[..., N]`, in the shapes of λ, as views that keep derivatives."""
        parts = [
            flat[..., a:b].view((*flat.shape[:-1], *shape))
            for (a, b), shape in zip(self._ranges, self.shapes, strict=True)
        ]
        if self._single:
            return parts[0]
        return tuple(parts) if self._keys is None else dict(zip(self._keys, parts, strict=True))
