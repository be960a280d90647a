"""What ``--trace mnist-cnn:key=value,...`` and ``--trace vit-digits:key=value,...`` may set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType

from harness.errors import UsageError
from harness.trace.random import SEED_LIMIT
from harness.trace.stream import parse_parameters

CNN, VIT = "mnist-cnn", "vit-digits"
DIGITS = 1797  # images of scikit-learn's load_digits
HELD_OUT = 360  # of them, a fifth, that no model is trained on

# Enough epochs for nine digits in ten on the held-out ones, and a few seconds on one core.
_DEFAULTS: Mapping[str, Mapping[str, int]] = MappingProxyType(
    {
        CNN: MappingProxyType({"images": HELD_OUT, "layers": 2, "epochs": 6, "seed": 0}),
        VIT: MappingProxyType({"images": HELD_OUT, "layers": 4, "epochs": 12, "seed": 0}),
    }
)
_RANGES = {"images": (1, DIGITS), "layers": (1, 24), "epochs": (0, 1000), "seed": (0, SEED_LIMIT - 1)}
_OF_TRAINING = ("layers", "epochs", "seed")


@dataclass(frozen=True, kw_only=True)
class VisionParameters:
    """What a model is and what it is run on.

    Attributes
    ----------
    source : {"mnist-cnn", "vit-digits"}
        The trace source.
    images : int
        Number of digits that are run through the model, held-out ones first.
    layers : int
        Convolutions of the CNN, or blocks of the vision transformer.
    epochs : int
        Passes over the training digits; 0 leaves the model untrained.
    seed : int
        Selects the first weights and the order of training.
    weights : Path or None
        A file with the weights of a vision transformer that was trained elsewhere; `layers`, `epochs` and `seed` do
        not apply then.
    """

    source: str
    images: int
    layers: int
    epochs: int
    seed: int
    weights: Path | None = None

    @property
    def label(self) -> str:
        """The source with all that differs from its defaults."""
        given = {f.name: getattr(self, f.name) for f in fields(self) if f.name in _DEFAULTS[self.source]}
        parts = [f"{key}={value}" for key, value in given.items() if value != _DEFAULTS[self.source][key]]
        if self.weights is not None:
            parts.append(f"weights={self.weights.name}")
        return self.source + (":" + ",".join(parts) if parts else "")


def parse(source: str, text: str) -> VisionParameters:
    """Read parameters from the text after the source's name.

    VisionParameters
    ----------
    source : {"mnist-cnn", "vit-digits"}
        The trace source.
    text : str
        ``key=value,...``; may be empty.

    Returns
    -------
    VisionParameters
        Checked; that a file of weights can be read is not.

    Raises
    ------
    UsageError
        For an unknown key, a number out of range, or a parameter of training beside a file of weights.
    """
    given = parse_parameters(text, (*_DEFAULTS[source], "weights") if source == VIT else _DEFAULTS[source], source)
    weights = given.pop("weights", None)
    if weights is not None and (beside := [key for key in given if key in _OF_TRAINING]):
        raise UsageError(f"The weights of {source!r} say how the model was trained: leave out {beside[0]}, or weights.")
    numbers = {key: _whole(source, key, value) for key, value in given.items()}
    return VisionParameters(
        source=source, **{**_DEFAULTS[source], **numbers}, weights=None if weights is None else Path(weights)
    )


def _whole(source: str, key: str, value: str) -> int:
    least, most = _RANGES[key]
    # Beyond twenty digits a number is out of every range, and slow to read.
    if not (value.isascii() and value.isdigit() and len(value) <= 20) or not least <= int(value) <= most:
        raise UsageError(
            f"The trace parameter {key}={value} of {source!r} must be a whole number from {least} to {most}."
        )
    return int(value)
