"""A model of torch that is ready to run: its weights, its features, its hooks and its manifest."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from harness.errors import UsageError
from harness.extensions.capture.describe import Facts, describe, input_tensors
from harness.extensions.capture.inputs import Query
from harness.extensions.capture.plan import CaptureSettings
from harness.extensions.capture.session import PreparedModel, Push
from harness.extensions.capture.weights import Checkpoint, read_checkpoint, seed_everything, set_weights
from harness.trace.schema import TensorSpec

Results = dict[TensorSpec, Callable[[Any], np.ndarray]]
"""What is kept of a model's output, with what takes it from there."""


class Places(Protocol):
    """Where tensors are taken in a network, in the order in which they are computed."""

    def tensors(self, settings: CaptureSettings, residues: int) -> list[TensorSpec]:
        """List every tensor that the hooks will give, in order."""

    def hooked(self, settings: CaptureSettings, residues: int, push: Push) -> AbstractContextManager[None]:
        """Pass every tensor on while the network runs, and leave no hook behind."""


class TorchModel(PreparedModel):
    """A model of torch; a subclass says how it is built, what it takes, where tensors are taken and what it is."""

    def __init__(self, settings: CaptureSettings, query: Query) -> None:
        self.settings, self.query = settings, query
        self._device = checked_device(settings.device)
        checkpoint = read_checkpoint(settings.checkpoint) if settings.checkpoint else None
        with warnings.catch_warnings(record=True):  # of kernels that are not there, which is what a capture wants
            self.model = self.build(checkpoint).eval()
        weights = set_weights(self.model, self.renamed(checkpoint) if checkpoint else None, settings.seed)
        self.model.to(self._device)
        seed_everything(settings.seed)
        self._features = self.features()
        self.trunk = self.places()
        self._inputs, self._results = input_tensors(self.query), self.results()
        tensors = [*self._inputs, *self.trunk.tensors(settings, query.residues), *self._results]
        self.manifest = describe(self.facts(), weights, checkpoint is not None, settings, self.query, tensors)

    @abstractmethod
    def build(self, checkpoint: Checkpoint | None) -> nn.Module:
        """Make the network, from the settings' seed; a checkpoint may decide which parts it has."""

    def renamed(self, checkpoint: Checkpoint) -> Checkpoint:
        """Give parameters the names that the network has for them."""
        return checkpoint

    @abstractmethod
    def features(self) -> dict[str, torch.Tensor]:
        """Return what the network takes; generators are seeded before."""

    @abstractmethod
    def places(self) -> Places:
        """Find the places in the network where tensors are taken."""

    @abstractmethod
    def facts(self) -> Facts:
        """Return what a manifest says of the model."""

    def results(self) -> Results:
        """List what is kept of the output of `forward`."""
        return {}

    @abstractmethod
    def forward(self, features: dict[str, torch.Tensor]) -> Any:
        """Run the network on features that are on its device."""

    def compute(self) -> Any:
        """Run the model as it is and return its output; the same random numbers each time."""
        features = {name: value.to(self._device) for name, value in self._features.items()}
        seed_everything(self.settings.seed)
        with torch.no_grad(), warnings.catch_warnings(record=True):
            return self.forward(features)

    def run(self, push: Push) -> None:
        for spec, array in self._inputs.items():
            push(spec.path, array)
        with self.trunk.hooked(self.settings, self.query.residues, push):
            output = self.compute()
        for spec, pick in self._results.items():
            push(spec.path, pick(output))


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
