"""Torch models that are ready to run: weights, features, hooks and manifest."""

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
"""Tensors to keep of a model's output, each with the function that extracts it."""


class Places(Protocol):
    """Capture points in a network, in the order in which their tensors are computed."""

    def tensors(self, settings: CaptureSettings, residues: int) -> list[TensorSpec]:
        """Return all tensors that the hooks push, in order."""

    def hooked(self, settings: CaptureSettings, residues: int, push: Push) -> AbstractContextManager[None]:
        """Push every tensor while the network runs, and remove all hooks afterwards."""


class TorchModel(PreparedModel):
    """Torch model; a subclass builds it and gives its features, capture points and facts."""

    def __init__(self, settings: CaptureSettings, query: Query) -> None:
        self.settings, self.query = settings, query
        self._device = checked_device(settings.device)
        checkpoint = read_checkpoint(settings.checkpoint) if settings.checkpoint else None
        with warnings.catch_warnings(record=True):  # about missing kernels; a capture has to run without them
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
        """Build the network from the settings' seed; a checkpoint may determine its parts."""

    def renamed(self, checkpoint: Checkpoint) -> Checkpoint:
        """Rename parameters to the names in the network."""
        return checkpoint

    @abstractmethod
    def features(self) -> dict[str, torch.Tensor]:
        """Return the inputs of the network; generators are seeded before the call."""

    @abstractmethod
    def places(self) -> Places:
        """Return the capture points in the network."""

    @abstractmethod
    def facts(self) -> Facts:
        """Return the facts on the model for the manifest."""

    def results(self) -> Results:
        """Return the tensors to keep of the output of `forward`."""
        return {}

    @abstractmethod
    def forward(self, features: dict[str, torch.Tensor]) -> Any:
        """Run the network on features that are on its device."""

    def compute(self) -> Any:
        """Run the unmodified model and return its output; random numbers are the same each time."""
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
    """Return a torch device that can be used here.

    Parameters
    ----------
    name : str
        Such as ``"cpu"`` or ``"cuda:0"``.

    Returns
    -------
    device
        A device on which a tensor was made.

    Raises
    ------
    UsageError
        If torch does not know it or cannot use it here.
    """
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        first = (str(error).strip().splitlines() or ["unknown"])[0]
        raise UsageError(f"--device {name!r} cannot be used here ({first.rstrip('.')}); cpu always can.") from error
    return device
