"""Run a model and keep what its modules return, by forward hooks; the model's own code is as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.extensions.vision.models import Cnn, Vit

_BATCH = 60  # divides the default number of images, so that every batch of a default trace has one size
Taps = Mapping[str, tuple[nn.Module, Callable[[Any], Tensor]]]


def taps(model: nn.Module) -> Taps:
    """List what is kept of a model, in the order in which it is computed.

    Parameters
    ----------
    model : Cnn or Vit
        A model of this package.

    Returns
    -------
    mapping
        By the tensor's name in the archive: the module, and what of its output is kept. A CNN: the output of each
        module between images and logits, except that of flattening, which has the values of the one before. A vision
        transformer: each block's attention, by head, and its tokens.
    """
    if isinstance(model, Cnn):
        names = [name for name, _ in model.named_children() if name not in ("flatten", "head")]
        return {f"activations/{name}": (getattr(model, name), _whole) for name in names}
    assert isinstance(model, Vit)
    kept: dict[str, tuple[nn.Module, Callable[[Any], Tensor]]] = {}
    for i, block in enumerate(model.blocks):
        kept[f"attention/layer_{i}"] = (block.attn.attn, _weights)
        kept[f"activations/layer_{i}/hidden_states"] = (block, _whole)
    return kept


def _whole(output: Any) -> Tensor:
    return output


def _weights(output: Any) -> Tensor:
    return output[1]  # attention modules return the attended values and the weights


def capture(model: nn.Module, images: np.ndarray) -> dict[str, np.ndarray]:
    """Run a model on images and collect what `taps` names.

    Parameters
    ----------
    model : Cnn or Vit
        In evaluation mode; has no hooks of this function afterwards.
    images : ndarray
        Shape ``(n, 1, side, side)``, float32.

    Returns
    -------
    dict of str to ndarray
        By name in the archive, ``outputs/logits`` last; the first axis is the image, values are float32.
    """
    parts: dict[str, list[np.ndarray]] = {name: [] for name in (*taps(model), "outputs/logits")}
    with _hooked(taps(model), parts), torch.inference_mode():
        for start in range(0, len(images), _BATCH):
            logits = model(torch.from_numpy(images[start : start + _BATCH]))
            parts["outputs/logits"].append(logits.numpy())
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}


@contextmanager
def _hooked(kept: Taps, parts: Mapping[str, list[np.ndarray]]) -> Iterator[None]:
    with ExitStack() as stack:
        for name, (module, pick) in kept.items():
            handle = module.register_forward_hook(_keeper(parts[name], pick))
            stack.callback(handle.remove)
        yield


def _keeper(into: list[np.ndarray], pick: Callable[[Any], Tensor]) -> Callable[[nn.Module, Any, Any], None]:
    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        into.append(pick(output).numpy().copy())  # a later module may work in the same memory

    return keep
