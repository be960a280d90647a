"""Weights of a vision transformer that was trained elsewhere, and digits in the size that it expects."""

from __future__ import annotations

import hashlib
import io
import math
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from harness.errors import UsageError
from harness.extensions.vision.models import Vit, VitShape
from harness.files import WHOLE, read_bytes

HEADS = 4  # of the second stage's model; the number of heads does not follow from weights
# MNIST's digits fill 20 of 28 pixels (http://yann.lecun.com/exdb/mnist/); mean and standard deviation of its pixels.
_FILLED = 20 / 28
_MEAN, _DEVIATION = 0.1307, 0.3081


def load_vit(path: Path) -> tuple[Vit, str]:
    """Load a vision transformer from its weights; all dimensions except the number of heads follow from their shapes.

    Parameters
    ----------
    path : Path
        A state dictionary as ``torch.save`` writes it; no code in it is executed.

    Returns
    -------
    model : Vit
        In evaluation mode, on the CPU.
    sha256 : str
        SHA-256 of the file, in hexadecimal.

    Raises
    ------
    UsageError
        If the file cannot be read, is no such dictionary, or is that of another model.
    """
    try:
        data = read_bytes(path, WHOLE)
    except OSError as error:
        raise UsageError(
            f"The weights {path} cannot be read ({error.strerror}): give the path of a file after weights=."
        ) from error
    try:
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (RuntimeError, ValueError, KeyError, EOFError, OSError, pickle.UnpicklingError) as error:
        raise UsageError(
            f"{path} is not a file of weights written by torch.save, or is damaged: fetch it again."
        ) from error
    try:
        model = Vit(_shape(state))
        model.load_state_dict(state)
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError, AssertionError) as error:
        raise UsageError(
            f"{path} holds weights of another model than the vision transformer of 'vit-digits': leave weights out."
        ) from error
    return model.eval(), hashlib.sha256(data).hexdigest()


def _shape(state: Mapping[str, Any]) -> VitShape:
    channels, _, patch, _ = state["patch_embed.proj.weight"].shape
    layers = [int(found[1]) for name in state if (found := re.match(r"blocks\.(\d+)\.", name))]
    return VitShape(
        side=patch * math.isqrt(state["pos_embed"].shape[1] - 1),
        patch=patch,
        channels=channels,
        hidden=state["blocks.0.ff.net.0.weight"].shape[0],
        heads=HEADS,
        layers=max(layers) + 1,
        classes=state["head.weight"].shape[0],
    )


def enlarge(images: np.ndarray, side: int) -> np.ndarray:
    """Convert digits to the size and scale of MNIST's, on which the second stage's model was trained.

    Parameters
    ----------
    images : ndarray
        Shape ``(n, 1, 8, 8)``, float32 from 0 to 1.
    side : int
        Edge of the model's images, in pixels.

    Returns
    -------
    ndarray
        Shape ``(n, 1, side, side)``, float32: enlarged by bicubic interpolation to the part that MNIST's digits fill,
        centred on black, less MNIST's mean, divided by its standard deviation.
    """
    filled = max(1, round(side * _FILLED))
    before = (side - filled) // 2
    after = side - filled - before
    digits = nn.functional.interpolate(torch.from_numpy(images), size=(filled, filled), mode="bicubic").clamp(0, 1)
    digits = nn.functional.pad(digits, (before, after, before, after))
    return ((digits - _MEAN) / _DEVIATION).numpy()
