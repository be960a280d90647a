"""What the trace sources ``mnist-cnn`` and ``vit-digits`` may set, and which packages they need."""

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
HELD_OUT = 360  # of them, a fifth, that no model is trained on

# Enough epochs for nine digits in ten on the held-out ones, and a few seconds on one core.
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

# One version of PyTorch, named exactly: the values of a trace depend on it, and other versions are other downloads.
_NEEDED = {
    "torch": ("torch", "pip install torch==2.13.0"),
    "sklearn": ("scikit-learn", "pip install 'trace-format-harness[vision]'"),
}


@dataclass(frozen=True, kw_only=True)
class VisionParameters:
    """What a model is and what it is run on."""

    source: str  # The trace source: "mnist-cnn", "vit-digits".
    images: int  # Number of digits that are run through the model, held-out ones first.
    layers: int  # Convolutions of the CNN, or blocks of the vision transformer.
    epochs: int  # Passes over the training digits; 0 leaves the model untrained.
    seed: int  # Selects the first weights and the order of training.
    # A file with the weights of a vision transformer that was trained elsewhere; `layers`, `epochs` and `seed` do not
    # apply then.
    weights: Path | None = None

    @property
    def label(self) -> str:
        """The source with all that differs from its defaults."""
        defaults = _DEFAULTS[self.source].items()
        parts = [f"{key}={getattr(self, key)}" for key, value in defaults if getattr(self, key) != value]
        parts += [f"weights={self.weights.name}"] if self.weights is not None else []
        return self.source + (":" + ",".join(parts) if parts else "")


def parse(source: str, text: str) -> VisionParameters:
    """Read parameters from the text after the source's name.

    Parameters
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
    given = parse_parameters(text, {**_KNOWN, "weights": None} if source == VIT else _KNOWN, source)
    weights = given.pop("weights", None)
    if weights is not None and (beside := [key for key in given if key in _OF_TRAINING]):
        raise UsageError(f"The weights of {source!r} determine its training: leave out {beside[0]}, or weights.")
    numbers = _DEFAULTS[source] | given
    return VisionParameters(source=source, **numbers, weights=None if weights is None else Path(weights))


def missing() -> str:
    """Say which packages are not installed and how to install them, in order; empty when none is missing."""
    lacking = [found for module, found in _NEEDED.items() if importlib.util.find_spec(module) is None]
    if not lacking:
        return ""
    names = " and ".join(repr(package) for package, _ in lacking)
    return f"needs the package{'s' * (len(lacking) > 1)} {names}: {', then '.join(command for _, command in lacking)}"
