"""The two models, a plain CNN and a vision transformer, and the capture of their values by forward hooks."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

VERSION = "1"  # to be increased when a change to a model or its training changes the values of a trace
CLASSES = 10
_BATCH = 60  # divides the default number of images, so that all batches of a default trace have the same size

Taps = dict[str, tuple[nn.Module, Callable[[Any], Tensor]]]
"""Captured values in the order of computation: by name in an archive, the module and the selection from its output."""


def _whole(output: Any) -> Tensor:
    return output


def _weights(output: Any) -> Tensor:
    return output[1]  # attention modules return the attended values and the weights


class Cnn(nn.Sequential):
    """Convolutions of 3 x 3 with ReLU, one pooling, one hidden layer, for images of shape ``(n, 1, 8, 8)``.

    Parameters
    ----------
    layers : int
        Number of convolutions: the first to 16 channels, the others to 32.
    """

    hidden_dim = 64

    def __init__(self, layers: int) -> None:
        modules: OrderedDict[str, nn.Module] = OrderedDict()
        channels = 1
        for i in range(layers):
            wider = 16 if i == 0 else 32
            modules[f"conv_{i}"] = nn.Conv2d(channels, wider, kernel_size=3, padding=1)
            modules[f"relu_{i}"] = nn.ReLU()
            channels = wider
        modules["pool"] = nn.MaxPool2d(2)
        modules["flatten"] = nn.Flatten()
        modules["hidden"] = nn.Linear(channels * 4 * 4, self.hidden_dim)
        modules["relu_hidden"] = nn.ReLU()
        modules["head"] = nn.Linear(self.hidden_dim, CLASSES)
        super().__init__(modules)

    def taps(self) -> Taps:
        """Return each module between images and logits, except flattening, which repeats the values before it."""
        names = [name for name, _ in self.named_children() if name not in ("flatten", "head")]
        return {f"activations/{name}": (getattr(self, name), _whole) for name in names}


@dataclass(frozen=True, kw_only=True)
class VitShape:
    """The dimensions of a vision transformer."""

    # Edge of an image and of a patch, in pixels.
    side: int = 8
    patch: int = 2
    # Width of a token, and of the feed-forward layers.
    channels: int = 32
    hidden: int = 128
    # Attention heads of a block, and number of blocks.
    heads: int = 4
    layers: int = 4
    classes: int = CLASSES  # Number of logits.

    @property
    def tokens(self) -> int:
        """Number of tokens: the patches and the class token."""
        return (self.side // self.patch) ** 2 + 1


class Vit(nn.Module):
    """A vision transformer with normalisation after each residual sum.

    Patches and class token as in Dosovitskiy et al. (2021), https://arxiv.org/abs/2010.11929; the order of sum and
    normalisation as in Vaswani et al. (2017), https://arxiv.org/abs/1706.03762. Modules are named as in the weights
    of the second stage, so that these can be loaded.
    """

    def __init__(self, shape: VitShape) -> None:
        super().__init__()
        self.shape = shape
        self.patch_embed = _Patches(shape)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, shape.channels))
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, shape.tokens, shape.channels))
        self.blocks = nn.ModuleList(_Block(shape) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(shape.channels)
        self.head = nn.Linear(shape.channels, shape.classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits of shape ``(n, classes)`` for images of shape ``(n, 1, side, side)``."""
        patches = self.patch_embed(images)
        tokens = torch.cat((self.cls_token.expand(len(images), -1, -1), patches), dim=1) + self.pos_embed
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(self.norm(tokens)[:, 0])

    def taps(self) -> Taps:
        """Return each block's attention, by head, and its tokens."""
        kept: Taps = {}
        for i, block in enumerate(self.blocks):
            kept[f"attention/layer_{i}"] = (block.attn.attn, _weights)
            kept[f"activations/layer_{i}/hidden_states"] = (block, _whole)
        return kept


class _Patches(nn.Module):
    def __init__(self, shape: VitShape) -> None:
        super().__init__()
        self.proj = nn.Conv2d(1, shape.channels, kernel_size=shape.patch, stride=shape.patch)

    def forward(self, images: Tensor) -> Tensor:
        return self.proj(images).flatten(2).transpose(1, 2)


class _Block(nn.Module):
    def __init__(self, shape: VitShape) -> None:
        super().__init__()
        self.attn = _Attention(shape)
        self.ff = _FeedForward(shape)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.ff(self.attn(tokens))


class _Attention(nn.Module):
    def __init__(self, shape: VitShape) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(shape.channels, shape.heads, batch_first=True)
        self.norm = nn.LayerNorm(shape.channels)

    def forward(self, tokens: Tensor) -> Tensor:
        # Request the map of each head, which only the hooks use.
        attended, _ = self.attn(tokens, tokens, tokens, need_weights=True, average_attn_weights=False)
        return self.norm(tokens + attended)


class _FeedForward(nn.Module):
    def __init__(self, shape: VitShape) -> None:
        super().__init__()
        # Dropout layers keep their positions, because weights are named by position.
        self.net = nn.Sequential(
            nn.Linear(shape.channels, shape.hidden),
            nn.GELU(),
            nn.Dropout(0.0),
            nn.Linear(shape.hidden, shape.channels),
            nn.Dropout(0.0),
        )
        self.norm = nn.LayerNorm(shape.channels)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.norm(tokens + self.net(tokens))


def capture(model: Cnn | Vit, images: np.ndarray) -> dict[str, np.ndarray]:
    """Run a model on images and return the values of its taps.

    Parameters
    ----------
    model : Cnn or Vit
        In evaluation mode; this function removes its hooks afterwards.
    images : ndarray
        Shape ``(n, 1, side, side)``, float32.

    Returns
    -------
    dict of str to ndarray
        By name in the archive, ``outputs/logits`` last; the first axis is the image, values are float32.
    """
    taps = model.taps()
    parts: dict[str, list[np.ndarray]] = {name: [] for name in (*taps, "outputs/logits")}

    def keeper(into: list[np.ndarray], pick: Callable[[Any], Tensor]) -> Callable[[nn.Module, Any, Any], None]:
        # Copy, because a later module may overwrite the same memory.
        return lambda module, inputs, output: into.append(pick(output).numpy().copy())

    with ExitStack() as stack, torch.inference_mode():
        for name, (module, pick) in taps.items():
            stack.callback(module.register_forward_hook(keeper(parts[name], pick)).remove)
        for start in range(0, len(images), _BATCH):
            logits = model(torch.from_numpy(images[start : start + _BATCH]))
            parts["outputs/logits"].append(logits.numpy())
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}
