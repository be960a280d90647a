"""Hooks on a model's stack of blocks, which copy computed tensors and change nothing in the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

from harness.errors import HarnessError, UsageError
from harness.extensions.capture.plan import AttentionKind, CaptureSettings, Site, end_sites, pair_site, trunk_tensors
from harness.extensions.capture.session import Push
from harness.trace.schema import Role, TensorSpec

_SOFTMAX = "softmax_no_cast"

Take = Callable[[torch.Tensor], None]


@dataclass(frozen=True, kw_only=True)
class Trunk:
    """Capture points in a stack of blocks, in the order in which their tensors are computed."""

    stack: nn.Module  # Runs its ``blocks`` once per pass.
    # The module of the model's code that holds ``softmax_no_cast`` and the attention that calls it.
    primitives: ModuleType
    attention: tuple[AttentionKind, ...]  # Attention maps, which a block computes and never returns.
    sites: tuple[Site, ...]  # Tensors that a block returns.
    ends: tuple[Site, ...]  # Tensors that the stack returns.

    def tensors(self, settings: CaptureSettings, residues: int) -> list[TensorSpec]:
        """Return all tensors that the hooks push, in order."""
        maps = [site for kind in self.attention for site in kind.sites(settings, residues)]
        return trunk_tensors(settings, [*maps, *self.sites], self.ends)

    @contextmanager
    def hooked(self, settings: CaptureSettings, residues: int, push: Push) -> Iterator[None]:
        """Push every tensor while the model runs.

        Parameters
        ----------
        settings : CaptureSettings
            Blocks and passes of the model, and which of them are kept.
        residues : int
            Length of the sequence.
        push : callable
            Takes path and values.

        Raises
        ------
        UsageError
            If the model's code has no ``softmax_no_cast``.
        HarnessError
            From within the model, if a module did not run exactly one softmax: a memory-efficient kernel never forms
            the weights, and an archive with holes is no trace.
        """
        step = -1

        def begin(*_: Any) -> None:
            nonlocal step
            step += 1

        def give(sites: Sequence[Site], layer: int, output: Any) -> None:
            for site in sites:
                path = site.name(step, settings.recycles, layer)
                push(path, copied(_without_batch(site.pick(output), len(site.shape), path)))

        def seen(sites: Sequence[Site], layer: int, _: nn.Module, __: Any, output: Any) -> None:
            give(sites, layer, output)

        def take(kind: AttentionKind, layer: int, what: str, weights: torch.Tensor) -> None:
            give(kind.sites(settings, residues), layer, _maps(weights, kind, residues, what))

        watched: dict[nn.Module, tuple[str, Take]] = {}
        with ExitStack() as stack:
            stack.callback(self.stack.register_forward_pre_hook(begin).remove)
            for layer in settings.kept_layers:
                block = self.stack.blocks[layer]
                for kind in self.attention:
                    if kind.name in settings.attention:
                        what = f"{kind.name} attention of block {layer}"
                        watched[attrgetter(kind.module)(block)] = (f"The {what}", partial(take, kind, layer, what))
                stack.callback(block.register_forward_hook(partial(seen, self.sites, layer)).remove)
            stack.callback(self.stack.register_forward_hook(partial(seen, self.ends, 0)).remove)
            stack.enter_context(_watched_attention(self.primitives, watched))
            yield


def copied(tensor: torch.Tensor) -> np.ndarray:
    """Copy a tensor to main memory as float32: inference works in place and would change the original.

    Raises
    ------
    HarnessError
        For floating-point values of another type: an archive would state that they were computed in float32.
    """
    if tensor.is_floating_point() and tensor.dtype != torch.float32:
        kind = str(tensor.dtype).removeprefix("torch.")
        raise HarnessError(f"The model computes in {kind}, and captures store float32: run it in float32.")
    kept = tensor.detach().to("cpu", torch.float32, copy=True, memory_format=torch.contiguous_format)
    return np.asarray(kept.numpy())


def _without_batch(tensor: torch.Tensor, axes: int, what: str) -> torch.Tensor:
    """Drop leading axes of length 1; raise HarnessError unless `axes` axes are left."""
    while tensor.ndim > axes and tensor.shape[0] == 1:
        tensor = tensor[0]
    if tensor.ndim != axes:
        raise HarnessError(f"{what} has shape {tuple(tensor.shape)} where {axes} axes were expected.")
    return tensor


def _maps(weights: torch.Tensor, kind: AttentionKind, residues: int, what: str) -> torch.Tensor:
    wanted = (kind.heads, residues, residues)
    maps = _without_batch(weights, 3 if kind.rows == "none" else 4, f"the {what}")
    if maps.shape[-3:] != wanted or (kind.rows == "residue" and maps.shape[0] != residues):
        raise HarnessError(
            f"The {what} came with shape {tuple(maps.shape)} where maps of {wanted} were expected: it is computed in "
            "parts; switch chunking off."
        )
    return maps


@contextmanager
def _watched_attention(primitives: ModuleType, modules: Mapping[nn.Module, tuple[str, Take]]) -> Iterator[None]:
    """Pass the attention weights of modules to their callbacks; the names of modules are for errors.

    OpenFold's attention calls its softmax through one function of its module. This function is wrapped during the
    context, and hooks before and after each module determine which module called it.
    """
    original = getattr(primitives, _SOFTMAX, None)
    if original is None:
        raise UsageError(f"{primitives.__name__} has no {_SOFTMAX}: its attention cannot be read; use another version.")
    active: list[tuple[nn.Module, list[None]]] = []

    def softmax(*arguments: Any, **options: Any) -> torch.Tensor:
        weights: torch.Tensor = original(*arguments, **options)
        if active:
            module, calls = active[-1]
            calls.append(None)
            modules[module][1](weights)
        return weights

    def before(module: nn.Module, _: Any) -> None:
        active.append((module, []))

    def after(module: nn.Module, __: Any, ___: Any) -> None:
        _, calls = active.pop()
        if len(calls) != 1:
            raise HarnessError(
                f"{modules[module][0]} formed its attention weights {len(calls)} times in one call: a memory-efficient "
                "kernel (DeepSpeed, flash, cuEquivariance, Triton or low-memory attention) or chunking hides them; "
                "switch it off."
            )

    with ExitStack() as stack:
        for module in modules:
            stack.callback(module.register_forward_pre_hook(before).remove)
            stack.callback(module.register_forward_hook(after).remove)
        stack.callback(setattr, primitives, _SOFTMAX, original)
        setattr(primitives, _SOFTMAX, softmax)
        yield


def triangles(heads: int) -> tuple[AttentionKind, AttentionKind]:
    """Return both triangle attentions, whose paths are the same in OpenFold 2 and openfold3."""
    start = AttentionKind("triangle-start", heads, "residue", "pair_stack.tri_att_start.mha")
    return start, AttentionKind("triangle-end", heads, "residue", "pair_stack.tri_att_end.mha")


def evoformer_trunk(stack: nn.Module, primitives: ModuleType, config: Mapping[str, int], residues: int) -> Trunk:
    """Return the capture points in a stack of Evoformer blocks, whose parts OpenFold 2 and openfold3 name alike.

    Parameters
    ----------
    stack : Module
        Stack that returns the MSA, the pair and the single representation.
    primitives : module
        As in `Trunk`.
    config : mapping of str to int
        ``no_heads_msa``, ``no_heads_pair``, ``c_m``, ``c_z`` and ``c_s``.
    residues : int
        Length of the sequence.

    Returns
    -------
    Trunk
        It keeps the first row of the MSA representation, which represents the sequence.
    """
    path, shape = "activations/layer_{layer}/msa_first_row", (residues, config["c_m"])
    axes, pick = ("residue", "msa_channel"), lambda output: output[0][..., 0, :, :]
    return Trunk(
        stack=stack,
        primitives=primitives,
        attention=(
            AttentionKind("msa-row", config["no_heads_msa"], "sequence", "msa_att_row.mha"),
            *triangles(config["no_heads_pair"]),
        ),
        sites=(Site(path, shape, axes, Role.ACTIVATION, pick), pair_site(residues, config["c_z"])),
        ends=end_sites(residues, config["c_s"], config["c_z"], 2),
    )
