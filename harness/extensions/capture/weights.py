"""Weights of a model: a checkpoint of the user, or weights drawn from a seed so that layers differ."""

from __future__ import annotations

import pickle
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from harness.errors import UsageError
from harness.files import check_regular, file_digest

_PREFIXES = ("module.", "model.")  # prefixes that wrappers for training add to every name
_NAMED = 3  # parameters named in a message


class Checkpoint(NamedTuple):
    """Parameters of a model from a file."""

    path: Path  # The file.
    sha256: str  # Digest of its bytes.
    state: Mapping[str, torch.Tensor]  # Parameters by name.


def seed_everything(seed: int) -> None:
    """Seed every generator that a model may draw from: torch's, numpy's (scipy draws from it) and Python's own."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def set_weights(model: nn.Module, checkpoint: Checkpoint | None, seed: int) -> str:
    """Load a checkpoint into a model, or redraw the matrices that its own initialisation left at zero.

    By default OpenFold initialises the last matrix of every residual update to zero, which makes all layers equal.

    Parameters
    ----------
    model : Module
        Model to change in place.
    checkpoint : Checkpoint or None
        From `read_checkpoint`.
    seed : int
        Seed of the drawn values.

    Returns
    -------
    str
        Description of the weights.

    Raises
    ------
    UsageError
        If the checkpoint is of another architecture.
    """
    if checkpoint is not None:
        _load(model, checkpoint)
        return f"weights from {checkpoint.path.name}, sha256 {checkpoint.sha256}"
    count = _redraw_zeros(model, seed)
    return (
        "UNTRAINED weights: good for shapes, layout and speed, not for compression ratios; drawn by the model's own "
        f"initialisation with seed {seed}, and its {count} all-zero matrices again, normal with 0.5/sqrt(fan_in), "
        f"with seed {seed}"
    )


def _redraw_zeros(model: nn.Module, seed: int) -> int:
    """Redraw all-zero matrices of linear layers, normal with ``0.5 / sqrt(fan_in)``; return how many there were."""
    generator = torch.Generator().manual_seed(seed)
    count = 0
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Linear) and not module.weight.any():
                values = torch.randn(module.weight.shape, generator=generator)
                module.weight.copy_(values * (0.5 / module.in_features**0.5))
                count += 1
    return count


def read_checkpoint(path: Path) -> Checkpoint:
    """Read the parameters in a checkpoint, without running any code that it may contain.

    Parameters
    ----------
    path : Path
        A file that ``torch.save`` wrote, with ``ema.params`` or a bare state dict.

    Returns
    -------
    Checkpoint
        Parameters by name, without the prefixes of wrappers.

    Raises
    ------
    UsageError
        If it cannot be read, or holds something else.
    """
    try:
        check_regular(path)
        found: Any = torch.load(path, map_location="cpu", weights_only=True)
        sha256 = file_digest(path)
    except OSError as error:
        raise UsageError(f"The checkpoint {path} cannot be read: {error.strerror or error}.") from error
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError, KeyError) as error:
        raise UsageError(f"{path} is not a checkpoint of plain tensors that torch can read.") from error
    if isinstance(found, dict) and isinstance(found.get("ema"), dict):
        found = found["ema"].get("params")
    if not isinstance(found, dict) or not found or not all(isinstance(v, torch.Tensor) for v in found.values()):
        raise UsageError(f"{path} holds neither 'ema.params' nor a bare state dict of tensors.")
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in found):
            found = {name.removeprefix(prefix): value for name, value in found.items()}
    return Checkpoint(path, sha256, found)


def _load(model: nn.Module, checkpoint: Checkpoint) -> None:
    """Load parameters into a model; raise UsageError unless it has exactly these."""
    wanted, given = model.state_dict(), checkpoint.state
    differing = {
        "lacks {} parameters of this model": wanted.keys() - given.keys(),
        "has {} that it does not": given.keys() - wanted.keys(),
        "has {} of another shape": {
            name for name in wanted.keys() & given.keys() if wanted[name].shape != given[name].shape
        },
    }
    found = [
        f"{text.format(len(names))} ({', '.join(sorted(names)[:_NAMED])}{' ...' * (len(names) > _NAMED)})"
        for text, names in differing.items()
        if names
    ]
    if found:
        raise UsageError(
            f"{checkpoint.path} is of another architecture: it {', '.join(found)}. Check --model and --blocks."
        )
    model.load_state_dict(dict(given))
