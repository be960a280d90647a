"""Hooks on OpenFold3's diffusion: activations of each layer and positions of each step, for all samples of a seed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from harness.errors import HarnessError
from harness.extensions.capture.session import Push
from harness.extensions.capture.trunk import copied
from harness.trace.schema import Role, TensorSpec, tensor


@dataclass(frozen=True, kw_only=True)
class DiffusionHooks:
    """Capture points in the diffusion, in the order in which their tensors are computed."""

    module: nn.Module  # OpenFold3's diffusion module, which runs once per step for all samples.
    steps: int  # Steps of the rollout.
    # Steps and layers whose tensors are kept, in order.
    kept_steps: tuple[int, ...]
    layers: tuple[int, ...]
    # Lengths of the axes; `width` is that of the activations of tokens.
    samples: int
    tokens: int
    atoms: int
    width: int

    def tensors(self, seed: str) -> list[TensorSpec]:
        """Return all tensors that the hooks push for a seed, in order; `seed` is ``seed_NUMBER/`` or empty."""
        positions = (self.samples, self.atoms, 3)
        found = []
        for step in self.kept_steps:
            start = f"diffusion/{seed}step_{step}"
            found.append(_activation(f"{start}/atom_positions", positions, "sample atom xyz"))
            shape = (self.samples, self.tokens, self.width)
            found += [_activation(f"{start}/layer_{k}/token_repr", shape, "sample token channel") for k in self.layers]
            found.append(_activation(f"{start}/denoised_positions", positions, "sample atom xyz"))
        found.append(_activation(f"diffusion/{seed}noise_levels", (self.steps,), "diffusion_step"))
        return found

    @contextmanager
    def hooked(self, seed: str, push: Push) -> Iterator[None]:
        """Push every tensor while the model runs, and the noise levels of all steps after it has run.

        Raises
        ------
        HarnessError
            If the model runs another number of samples than expected (raised within the model), or of steps (after it).
        """
        levels: list[float] = []

        def give(name: str, value: torch.Tensor) -> None:
            if len(levels) - 1 in self.kept_steps:
                path = f"diffusion/{seed}step_{len(levels) - 1}/{name}"
                push(path, copied(self._of_samples(value, path)))

        def before(_: nn.Module, __: Any, given: dict[str, Any]) -> None:
            levels.append(float(given["t"]))
            give("atom_positions", given["xl_noisy"])

        def after(_: nn.Module, __: Any, output: torch.Tensor) -> None:
            give("denoised_positions", output)

        with ExitStack() as stack:
            stack.callback(self.module.register_forward_pre_hook(before, with_kwargs=True).remove)
            for layer in self.layers:
                block = self.module.diffusion_transformer.blocks[layer]
                name = f"layer_{layer}/token_repr"
                stack.callback(block.register_forward_hook(lambda _, __, output, name=name: give(name, output)).remove)
            stack.callback(self.module.register_forward_hook(after).remove)
            yield
        if len(levels) != self.steps:
            raise HarnessError(f"The diffusion ran {len(levels)} steps where {self.steps} were expected.")
        push(f"diffusion/{seed}noise_levels", np.array(levels, np.float32))

    def _of_samples(self, value: torch.Tensor, path: str) -> torch.Tensor:
        """Drop leading batch axes of length 1, and check the number of samples."""
        found = value.reshape(value.shape[-3:]) if value.ndim > 3 and all(n == 1 for n in value.shape[:-3]) else value
        if found.ndim != 3 or found.shape[0] != self.samples:
            raise HarnessError(
                f"{path} came with shape {tuple(value.shape)} where {self.samples} samples were expected."
            )
        return found


def _activation(path: str, shape: tuple[int, ...], axes: str) -> TensorSpec:
    return tensor(path, shape, axes=axes.split(), role=Role.ACTIVATION)
