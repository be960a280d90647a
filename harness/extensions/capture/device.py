"""The device a model runs on."""

from __future__ import annotations

import torch

from harness.errors import UsageError


def checked_device(name: str) -> torch.device:
    """Return a device of torch that is there.

    Parameters
    ----------
    name : str
        Such as ``"cpu"`` or ``"cuda:0"``.

    Returns
    -------
    device
        A tensor was made on it.

    Raises
    ------
    UsageError
        When torch does not know it or cannot use it here.
    """
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        first = (str(error).strip().splitlines() or ["unknown"])[0]
        raise UsageError(f"--device {name!r} cannot be used here ({first.rstrip('.')}); cpu always can.") from error
    return device
