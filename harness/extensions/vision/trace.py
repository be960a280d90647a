"""Creation of the trace: train or load the model, measure its accuracy, run it, and record this in the manifest."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
import sklearn
import torch

from harness.extensions.vision import training
from harness.extensions.vision.models import CLASSES, VERSION, Cnn, Vit, VitShape, capture
from harness.extensions.vision.parameters import CNN, DIGITS, HELD_OUT, VisionParameters
from harness.extensions.vision.weights import enlarge, load_vit
from harness.trace.manifest import Manifest, Metadata, Provenance, validate
from harness.trace.schema import TensorSpec, tensor
from harness.trace.stream import MemoryTrace

_AXES = {4: ("image", "channel", "row", "column"), 2: ("image", "channel")}  # of activations without layers


class Ready(NamedTuple):
    """A model that is ready to run."""

    model: Cnn | Vit  # In evaluation mode.
    images: np.ndarray  # All digits in the form that the model expects, held-out ones first.
    accuracy: float  # Fraction of held-out digits that it classifies correctly.
    trained: bool  # Whether its weights were trained.
    origin: str  # Origin of the weights, for the provenance.


def make_trace(parameters: VisionParameters) -> MemoryTrace:
    """Return the trace of a model.

    Parameters
    ----------
    parameters : VisionParameters
        The model, and the number of images.

    Returns
    -------
    MemoryTrace
        Equal parameters give equal bits with one version of PyTorch on one kind of processor.

    Raises
    ------
    UsageError
        If a file of weights cannot be used.
    """
    p = parameters
    with training.reproducible(p.seed):
        ready = _loaded(p) if p.weights is not None else _trained(p.source, p.layers, p.epochs, p.seed)
        images = ready.images[: p.images]
        arrays = {
            "inputs/images": images,
            "inputs/labels": training.read_digits()[1][: p.images],
            **capture(ready.model, images),
        }
    specs = [_spec(path, array) for path, array in arrays.items()]
    manifest = Manifest(tensors=tuple(specs), metadata=_metadata(p, ready), provenance=_provenance(p, ready))
    validate(manifest)
    return MemoryTrace(p.label, manifest, arrays)


@lru_cache(maxsize=2)  # a process that opens the trace again does not train again
def _trained(source: str, layers: int, epochs: int, seed: int) -> Ready:
    images, labels = training.read_digits()
    with training.reproducible(seed):
        model = Cnn(layers) if source == CNN else Vit(VitShape(layers=layers))
        training.train(model, images[HELD_OUT:], labels[HELD_OUT:], epochs, seed)
        right = training.accuracy(model, images[:HELD_OUT], labels[:HELD_OUT])
    passes = f"{epochs} epoch{'s' * (epochs != 1)}"
    origin = (
        f"trained for {passes} on {DIGITS - HELD_OUT} digits ({training.SETTINGS}, seed {seed})"
        if epochs
        else f"UNTRAINED weights, seed {seed}"
    )
    return Ready(model, images, right, bool(epochs), origin)


def _loaded(parameters: VisionParameters) -> Ready:
    assert parameters.weights is not None
    model, sha256 = load_vit(parameters.weights)
    images, labels = training.read_digits()
    images = enlarge(images, model.shape.side)
    right = training.accuracy(model, images[:HELD_OUT], labels[:HELD_OUT])
    # A file does not state whether its weights were trained; an accuracy of at most twice chance counts as untrained.
    trained = right > 2 / CLASSES
    origin = f"weights from {parameters.weights.name} (SHA-256 {sha256}), digits enlarged to MNIST's size and scale"
    return Ready(model, images, right, trained, origin if trained else f"UNTRAINED {origin}")


def _spec(path: str, array: np.ndarray) -> TensorSpec:
    if path == "inputs/labels":
        return tensor(path, array.shape, array.dtype, axes=("image",))
    free = path.startswith("activations/") and "/layer_" not in path
    return tensor(path, array.shape, array.dtype, axes=_AXES[array.ndim] if free else None)


def _metadata(parameters: VisionParameters, ready: Ready) -> Metadata:
    described = f"{parameters.images} of scikit-learn's {DIGITS} digits (UCI optical recognition), held-out ones first"
    metadata = partial(Metadata, model_version=VERSION, input_description=described)
    if isinstance(ready.model, Cnn):
        kept, hidden = ("activations",), Cnn.hidden_dim
        return metadata(model_name="CNN", num_layers=parameters.layers, hidden_dim=hidden, representation_names=kept)
    shape = ready.model.shape
    return metadata(
        model_name="ViT",
        config_version=f"{shape.side}x{shape.side} images, {shape.patch}x{shape.patch} patches",
        num_layers=shape.layers,
        num_heads=shape.heads,
        hidden_dim=shape.channels,
        representation_names=("hidden_states", "attention"),
    )


def _provenance(parameters: VisionParameters, ready: Ready) -> Provenance:
    versions = f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()} instructions, one thread"
    note = (
        f"{ready.origin}; names {ready.accuracy:.1%} of {HELD_OUT} held-out digits right; not a protein. "
        f"{versions}; scikit-learn {sklearn.__version__}."
    )
    seed = None if parameters.weights is not None else parameters.seed
    return Provenance(source=parameters.label, seed=seed, trained=ready.trained, bf16_born=False, note=note)
