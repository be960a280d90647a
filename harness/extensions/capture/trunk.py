"""A stack of blocks of a model, with the places in it where tensors are taken."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from operator import attrgetter, itemgetter
from types import ModuleType
from typing import Any

import torch
from torch import nn

from harness.errors import HarnessError
from harness.extensions.capture.hooks import copied, watched_attention, watched_outputs, watched_starts, without_batch
from harness.extensions.capture.plan import (
    AttentionKind,
    CaptureSettings,
    Selection,
    Site,
    attention_path,
    attention_sites,
    end_sites,
    pair_site,
    selections,
    site_path,
    trunk_tensors,
)
from harness.extensions.capture.session import Push
from harness.trace.schema import Role, TensorSpec

Pick = Callable[[Any], torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Trunk:
    """Where tensors are taken in a stack of blocks, in the order in which they are computed.

    Attributes
    ----------
    stack : Module
        Runs its ``blocks`` once a pass.
    primitives : module
        As for `harness.extensions.capture.hooks.watched_attention`.
    attention : tuple of (AttentionKind, callable)
        Each kind, with what finds its module in a block.
    sites : tuple of (Site, callable)
        Each tensor that a block returns, with what picks it from the block's output.
    ends : tuple of (Site, callable)
        The same for the output of the stack.
    """

    stack: nn.Module
    primitives: ModuleType
    attention: tuple[tuple[AttentionKind, Callable[[Any], nn.Module]], ...]
    sites: tuple[tuple[Site, Pick], ...]
    ends: tuple[tuple[Site, Pick], ...]

    def tensors(self, settings: CaptureSettings, residues: int) -> list[TensorSpec]:
        """List every tensor that the hooks will give, in order."""
        maps = [site for kind, _ in self.attention for site in attention_sites(kind, settings, residues)]
        return trunk_tensors(settings, [*maps, *(site for site, _ in self.sites)], [site for site, _ in self.ends])

    @contextmanager
    def hooked(self, settings: CaptureSettings, residues: int, push: Push) -> Iterator[None]:
        """Pass every tensor on while the model runs.

        Parameters
        ----------
        settings : CaptureSettings
            Which blocks and passes there are, and which are kept.
        residues : int
            Length of the sequence.
        push : callable
            Takes path and values.

        Raises
        ------
        UsageError, HarnessError
            As `harness.extensions.capture.hooks.watched_attention`.
        """
        recorder = _Recorder(settings, residues, push)
        blocks = [(layer, self.stack.blocks[layer]) for layer in settings.kept_layers]
        watched = {
            find(block): (f"The {kind.name} attention of block {layer}", recorder.attention(layer, kind))
            for layer, block in blocks
            for kind, find in self.attention
            if kind.name in settings.attention
        }
        outputs = [(block, recorder.block(layer, self.sites)) for layer, block in blocks]
        with (
            watched_starts(self.stack, recorder.next_pass),
            watched_attention(self.primitives, watched),
            watched_outputs([*outputs, (self.stack, recorder.end(self.ends))]),
        ):
            yield


class _Recorder:
    """Gives tensors their names, and passes on those that are kept."""

    def __init__(self, settings: CaptureSettings, residues: int, push: Push) -> None:
        self._settings, self._residues, self._push = settings, residues, push
        self._step = -1

    def next_pass(self) -> None:
        """Say that a pass through the stack begins."""
        self._step += 1

    def block(self, layer: int, sites: tuple[tuple[Site, Pick], ...]) -> Callable[[Any], None]:
        """Return what takes the output of a block."""

        def see(output: Any) -> None:
            for site, pick in sites:
                path = site_path(site.path, layer, self._step, self._settings.recycles)
                self._push(path, copied(without_batch(pick(output), len(site.shape), path)))

        return see

    def end(self, sites: tuple[tuple[Site, Pick], ...]) -> Callable[[Any], None]:
        """Return what takes the output of the stack."""

        def see(output: Any) -> None:
            for site, pick in sites:
                path = site.path.format(step=self._step)
                self._push(path, copied(without_batch(pick(output), len(site.shape), path)))

        return see

    def attention(self, layer: int, kind: AttentionKind) -> Callable[[torch.Tensor], None]:
        """Return what takes the attention weights of one kind in a block."""
        wanted = (kind.heads, self._residues, self._residues)

        def take(weights: torch.Tensor) -> None:
            maps = without_batch(
                weights, 3 if kind.rows == "none" else 4, f"the {kind.name} attention of block {layer}"
            )
            whole = kind.rows != "residue" or maps.shape[0] == self._residues
            if maps.shape[-3:] != wanted or not whole:
                raise HarnessError(
                    f"The {kind.name} attention of block {layer} came with shape {tuple(maps.shape)} where maps of "
                    f"{wanted} were expected: it is computed in parts; switch chunking off."
                )
            for chosen in selections(kind, self._settings):
                path = site_path(attention_path(kind, chosen), layer, self._step, self._settings.recycles)
                self._push(path, copied(_chosen(maps, kind, chosen)))

        return take


def _chosen(maps: torch.Tensor, kind: AttentionKind, chosen: Selection | None) -> torch.Tensor:
    if kind.rows == "none" or chosen == "all":
        return maps
    if kind.rows == "sequence":
        return maps[0]
    return maps.mean(dim=0) if chosen == "mean" or chosen is None else maps[chosen]


def evoformer_trunk(stack: nn.Module, primitives: ModuleType, config: Mapping[str, int], residues: int) -> Trunk:
    """Find the places in a stack of Evoformer blocks, whose parts OpenFold 2 and openfold3 name alike.

    Parameters
    ----------
    stack : Module
        Returns the MSA, the pair and the single representation.
    primitives : module
        As for `harness.extensions.capture.hooks.watched_attention`.
    config : mapping of str to int
        ``no_heads_msa``, ``no_heads_pair``, ``c_m``, ``c_z`` and ``c_s``.
    residues : int
        Length of the sequence.

    Returns
    -------
    Trunk
        Of the alignment, the first row of the MSA representation is kept: it stands for the sequence.
    """
    pairs = config["no_heads_pair"]
    first_row = Site(
        "activations/layer_{layer}/msa_first_row",
        (residues, config["c_m"]),
        ("residue", "msa_channel"),
        Role.ACTIVATION,
    )
    single, pair = end_sites(residues, config["c_s"], config["c_z"])
    return Trunk(
        stack=stack,
        primitives=primitives,
        attention=(
            (AttentionKind("msa-row", config["no_heads_msa"], "sequence"), attrgetter("msa_att_row.mha")),
            (AttentionKind("triangle-start", pairs, "residue"), attrgetter("pair_stack.tri_att_start.mha")),
            (AttentionKind("triangle-end", pairs, "residue"), attrgetter("pair_stack.tri_att_end.mha")),
        ),
        sites=(
            (first_row, lambda output: output[0][..., 0, :, :]),
            (pair_site(residues, config["c_z"]), itemgetter(1)),
        ),
        ends=((single, itemgetter(2)), (pair, itemgetter(1))),
    )
