"""Training of a model on digits in seconds, with the same bits each time: one thread, fixed seed, float32.

The digits are those of scikit-learn's ``load_digits``, which ships with the package.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from harness.trace.random import Stream

_LARGEST = 16  # pixels count set bits in blocks of 4 x 4: https://archive.ics.uci.edu/dataset/80
BATCH = 64
RATE = 3e-3
DECAY = 1e-4
SETTINGS = f"AdamW, learning rate up to {RATE:g} in one cycle, weight decay {DECAY:g}, batches of {BATCH}"


def read_digits() -> tuple[np.ndarray, np.ndarray]:
    """Read the digits, the held-out ones first.

    The choice of held-out digits does not depend on any parameter, so that accuracies can be compared.

    Returns
    -------
    images : ndarray
        Shape ``(1797, 1, 8, 8)``, float32 from 0 to 1.
    labels : ndarray
        Shape ``(1797,)``, int64 from 0 to 9.
    """
    found = load_digits()
    # The file has runs of 0 to 9 by the same writer, so its first digits are no representative sample.
    order = np.argsort(Stream(0, "held-out digits").words(len(found.target)), kind="stable")
    images = (found.images[order, np.newaxis] / _LARGEST).astype(np.float32)
    return images, found.target[order].astype(np.int64)


@contextmanager
def reproducible(seed: int = 0) -> Iterator[None]:
    """Run the block with one thread and a fixed seed; restore PyTorch's own settings afterwards.

    The bits still depend on PyTorch's version and on the processor's instructions, which a trace's provenance states.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(threads)


def train(model: nn.Module, images: np.ndarray, labels: np.ndarray, epochs: int, seed: int) -> None:
    """Train a model to classify digits.

    Parameters
    ----------
    model : Module
        Takes images and returns logits; changed in place, and left in evaluation mode.
    images : ndarray
        Shape ``(n, 1, side, side)``, float32.
    labels : ndarray
        Shape ``(n,)``, int64.
    epochs : int
        Passes over the images; 0 changes nothing.
    seed : int
        Determines the order of the images.
    """
    if epochs:
        inputs, targets = torch.from_numpy(images), torch.from_numpy(labels)
        steps = epochs * -(-len(images) // BATCH)
        optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=RATE, total_steps=steps)
        generator = torch.Generator().manual_seed(seed)
        model.train()
        for _ in range(epochs):
            for batch in torch.randperm(len(images), generator=generator).split(BATCH):
                loss = nn.functional.cross_entropy(model(inputs[batch]), targets[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
    model.eval()


def accuracy(model: nn.Module, images: np.ndarray, labels: np.ndarray) -> float:
    """Return the fraction of images, of shape ``(n, 1, side, side)``, whose largest logit is that of their label."""
    with torch.inference_mode():
        found = model(torch.from_numpy(images)).argmax(dim=1).numpy()
    return float(np.mean(found == labels))
