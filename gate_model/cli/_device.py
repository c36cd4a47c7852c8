"""Where to train: `--device`."""

import torch

__all__ = ["resolve_device"]


def resolve_device(name: str) -> torch.device:
    """`auto` is the GPU where there is one; anything else is a torch device name, checked."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"--device {name}: not to be had here ({str(error).splitlines()[0]}); use auto or cpu"
        ) from error
    return device
