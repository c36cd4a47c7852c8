"""The device on which to train, from the option `--device`."""

import torch

__all__ = ["resolve_device"]


def resolve_device(name: str) -> torch.device:
    """Return the device of this name; `auto` means the GPU if there is one, and the CPU otherwise.

    Raises:
        ValueError: torch cannot use this device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"--device {name}: torch cannot use this device here ({str(error).splitlines()[0]}); use auto or cpu"
        ) from error
    return device
