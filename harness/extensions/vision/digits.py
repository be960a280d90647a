"""The digits that models are trained and run on: scikit-learn's ``load_digits``, which ships with the package."""

from __future__ import annotations

import numpy as np
import sklearn
from sklearn.datasets import load_digits

from harness.extensions.vision.parameters import HELD_OUT
from harness.trace.random import Stream

VERSION = f"scikit-learn {sklearn.__version__}"
_LARGEST = 16  # pixels count ink in blocks of 4 x 4: https://archive.ics.uci.edu/dataset/80


def read_digits() -> tuple[np.ndarray, np.ndarray]:
    """Read the digits, the held-out ones first.

    Returns
    -------
    images : ndarray
        Shape ``(1797, 1, 8, 8)``, float32 from 0 to 1.
    labels : ndarray
        Shape ``(1797,)``, int64 from 0 to 9. Which digits are held out does not depend on any parameter, so that
        accuracies can be compared.
    """
    found = load_digits()
    # In the file the digits come in runs of 0 to 9 by the same hand, so the first ones would be no fair sample.
    order = np.argsort(Stream(0, "held-out digits").words(len(found.target)), kind="stable")
    images = (found.images[order, np.newaxis] / _LARGEST).astype(np.float32)
    return images, found.target[order].astype(np.int64)


def held_out(array: np.ndarray) -> np.ndarray:
    """Return the part of `read_digits`' images or labels that no model is trained on."""
    return array[:HELD_OUT]


def for_training(array: np.ndarray) -> np.ndarray:
    """Return the other part."""
    return array[HELD_OUT:]
