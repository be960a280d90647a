"""Parameters and required packages of the trace sources ``mnist-cnn`` and ``vit-digits``."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UsageError
from harness.trace.random import SEED_LIMIT
from harness.trace.stream import ParameterValues, parse_parameters

CNN, VIT = "mnist-cnn", "vit-digits"
DIGITS = 1797  # images of scikit-learn's load_digits
HELD_OUT = 360  # number of these, a fifth, on which no model is trained

# Enough epochs to classify nine in ten held-out digits correctly, in a few seconds on one core.
_DEFAULTS = {
    CNN: {"images": HELD_OUT, "layers": 2, "epochs": 6, "seed": 0},
    VIT: {"images": HELD_OUT, "layers": 4, "epochs": 12, "seed": 0},
}
_KNOWN: Mapping[str, ParameterValues] = {
    "images": range(1, DIGITS + 1),
    "layers": range(1, 25),
    "epochs": range(1001),
    "seed": range(SEED_LIMIT),
}
_OF_TRAINING = ("layers", "epochs", "seed")

# One exact version of PyTorch, because the values of a trace depend on it, and other versions are other downloads.
_NEEDED = {
    "torch": ("torch", "pip install torch==2.13.0"),
    "sklearn": ("scikit-learn", "pip install 'trace-format-harness[vision]'"),
}


@dataclass(frozen=True, kw_only=True)
class VisionParameters:
    """Parameters of a model and of its input."""

    source: str  # The trace source: "mnist-cnn", "vit-digits".
    images: int  # Number of digits run through the model, held-out ones first.
    layers: int  # Convolutions of the CNN, or blocks of the vision transformer.
    epochs: int  # Passes over the training digits; 0 leaves the model untrained.
    seed: int  # Determines the initial weights and the order of training.
    # A file with weights of a vision transformer that was trained elsewhere; then `layers`, `epochs` and `seed` do not
    # apply.
    weights: Path | None = None

    @property
    def label(self) -> str:
        """The source with all parameters that differ from its defaults."""
        defaults = _DEFAULTS[self.source].items()
        parts = [f"{key}={getattr(self, key)}" for key, value in defaults if getattr(self, key) != value]
        parts += [f"weights={self.weights.name}"] if self.weights is not None else []
        return self.source + (":" + ",".join(parts) if parts else "")


def parse(source: str, text: str) -> VisionParameters:
    """Parse parameters from the text after the source's name.

    Parameters
    ----------
    source : {"mnist-cnn", "vit-digits"}
        The trace source.
    text : str
        ``key=value,...``; may be empty.

    Returns
    -------
    VisionParameters
        Validated parameters; a file of weights is not opened.

    Raises
    ------
    UsageError
        If a key is unknown, a number is out of range, or a parameter of training is combined with a file of weights.
    """
    given = parse_parameters(text, {**_KNOWN, "weights": None} if source == VIT else _KNOWN, source)
    weights = given.pop("weights", None)
    if weights is not None and (beside := [key for key in given if key in _OF_TRAINING]):
        raise UsageError(f"The weights of {source!r} determine its training: leave out {beside[0]}, or weights.")
    numbers = _DEFAULTS[source] | given
    return VisionParameters(source=source, **numbers, weights=None if weights is None else Path(weights))


def missing() -> str:
    """Return which packages are not installed and how to install them, in order; empty if none is missing."""
    lacking = [found for module, found in _NEEDED.items() if importlib.util.find_spec(module) is None]
    if not lacking:
        return ""
    names = " and ".join(repr(package) for package, _ in lacking)
    return f"needs the package{'s' * (len(lacking) > 1)} {names}: {', then '.join(command for _, command in lacking)}"
