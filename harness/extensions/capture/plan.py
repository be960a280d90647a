"""Plan of a capture: settings, and the name, shape and order of every tensor that a model gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import itemgetter, methodcaller
from pathlib import Path
from typing import Any, Literal

from harness.errors import UsageError, unknown_name
from harness.trace.schema import Role, TensorSpec, tensor

Selection = int | Literal["mean", "all"]

_MAP = ("head", "residue", "residue")


def whole(output: Any) -> Any:
    """Return the complete output."""
    return output


@dataclass(frozen=True, kw_only=True)
class CaptureSettings:
    """Settings of a capture, from the caller."""

    blocks: int  # Number of blocks of the model's trunk.
    recycles: int  # Passes through the trunk after the first.
    msa_depth: int  # Rows of the alignment, the sequence included.
    attention: tuple[str, ...]  # Kinds of attention to keep, such as ``"msa-row"``.
    # Tuple of int, "mean" or "all". Maps of a triangle attention to keep: those of one residue (counted from 0), their
    # mean, or all.
    triangle: tuple[Selection, ...] = ("mean",)
    layers: tuple[int, ...] = ()  # Blocks to keep tensors of, counted from 0; every block if empty.
    device: str = "cpu"  # Name of a torch device.
    seed: int = 0  # Seed of drawn weights, and of whatever the model draws.
    source: Path | None = None  # A checkout of the model's code, for a model that is not a package.
    checkpoint: Path | None = None  # Weights; drawn from the seed if None.
    steps: int | None = None  # Diffusion steps, for a model that has them; its own number if None.
    samples: int = 1  # Samples of a complex, for each seed.
    seeds: tuple[int, ...] = ()  # The model runs once for each; if empty, for those of the query, or else for `seed`.
    # Diffusion steps and layers to keep tensors of; all if empty.
    kept_steps: tuple[int, ...] = ()
    diffusion_layers: tuple[int, ...] = ()

    @property
    def kept_layers(self) -> tuple[int, ...]:
        """The blocks whose tensors are kept, in order."""
        return self.layers or tuple(range(self.blocks))


@dataclass(frozen=True)
class Site:
    """One tensor of every block, or of the end of every pass."""

    path: str  # With ``{layer}`` for the number of the block, or ``{step}`` for that of the pass.
    shape: tuple[int, ...]  # Shape of the kept tensor.
    axes: tuple[str, ...]  # Names of its axes.
    role: Role  # Role of the tensor.
    pick: Callable[[Any], Any] = whole  # Returns the tensor from the output of the module.

    def name(self, step: int, last: int, layer: int = 0) -> str:
        """Return the name of the tensor of a block in a pass.

        The last pass has the schema's own groups, which readers expect in a trace. An earlier pass has the same names
        under ``recycle/step_<k>/``.
        """
        path = self.path.format(layer=layer, step=step)
        return path if step == last or "{step}" in self.path else f"recycle/step_{step}/{path}"


@dataclass(frozen=True)
class AttentionKind:
    """One kind of attention in every block of a model."""

    name: str  # Name on the command line.
    heads: int  # Number of heads.
    # What the model computes a map for. "sequence": each row of the alignment, of which the first is kept. "residue":
    # each residue; `CaptureSettings.triangle` selects what is kept. "none": once.
    rows: Literal["sequence", "residue", "none"]
    module: str = ""  # Its path in a block.

    def sites(self, settings: CaptureSettings, residues: int) -> list[Site]:
        """Return the sites of its kept maps in every block; a map has the shape ``(heads, residues, residues)``."""
        if self.name not in settings.attention:
            return []
        shape = (self.heads, residues, residues)

        def site(pick: Callable[[Any], Any], ending: str = "", axes: tuple[str, ...] = ()) -> Site:
            path = f"attention/{self.name.replace('-', '_')}{ending}/layer_{{layer}}"
            return Site(path, (*[residues] * len(axes), *shape), (*axes, *_MAP), Role.ATTENTION, pick)

        if self.rows != "residue":
            return [site(itemgetter(0) if self.rows == "sequence" else whole)]
        found = []
        for chosen in settings.triangle:
            if chosen == "all":
                found.append(site(whole, "_all", ("residue",)))
            elif chosen == "mean":
                found.append(site(methodcaller("mean", dim=0), "_mean"))
            else:
                found.append(site(itemgetter(chosen), f"_residue_{chosen}"))
        return found


def check_settings(settings: CaptureSettings, kinds: Iterable[str], residues: int) -> None:
    """Raise `UsageError` for settings that a model or a sequence does not support.

    Parameters
    ----------
    settings : CaptureSettings
        Settings to check.
    kinds : iterable of str
        The model's kinds of attention.
    residues : int
        Length of the sequence.

    Raises
    ------
    UsageError
        Names the setting and the possible values.
    """
    kinds = tuple(kinds)
    for kind in settings.attention:
        if kind not in kinds:
            raise unknown_name("kind of attention in this model", kind, kinds)
    for layer in settings.layers:
        if layer >= settings.blocks:
            raise UsageError(f"--layers: there is no block {layer}; this model has blocks 0 to {settings.blocks - 1}.")
    for chosen in settings.triangle:
        if isinstance(chosen, int) and chosen >= residues:
            raise UsageError(
                f"--triangle-residue: there is no residue {chosen}; this sequence has residues 0 to {residues - 1}."
            )


def trunk_tensors(settings: CaptureSettings, sites: Iterable[Site], ends: Iterable[Site]) -> list[TensorSpec]:
    """Return every tensor of a model's trunk, in the order in which it is computed.

    Parameters
    ----------
    settings : CaptureSettings
        Number of passes, and the blocks that are kept.
    sites : iterable of Site
        Outputs of each block, in order.
    ends : iterable of Site
        Outputs of each pass at its end.

    Returns
    -------
    list of TensorSpec
        Pass by pass, block by block; float32.
    """
    sites, ends, last = list(sites), list(ends), settings.recycles
    found = []
    for step in range(last + 1):
        named = [(site.name(step, last, layer), site) for layer in settings.kept_layers for site in sites]
        named += [(site.name(step, last), site) for site in ends]
        found += [tensor(name, site.shape, axes=site.axes, role=site.role) for name, site in named]
    return found


def end_sites(residues: int, single: int, pair: int, place: int = 0) -> tuple[Site, ...]:
    """Return the sites at the end of every pass: the representations that the schema keeps for each recycling step.

    The output has the single representation at `place`, and the pair representation second.
    """
    shape, axes = (residues, single), ("residue", "channel")
    return (
        Site("recycle/step_{step}/single_repr", shape, axes, Role.SINGLE, itemgetter(place)),
        pair_site(residues, pair, "recycle/step_{step}/pair_repr"),
    )


def pair_site(residues: int, channels: int, path: str = "pair/layer_{layer}") -> Site:
    """Return the site of the pair representation, which a block and a pass return second."""
    shape, axes = (residues, residues, channels), ("residue", "residue", "pair_channel")
    return Site(path, shape, axes, Role.PAIR, itemgetter(1))


def layer_bytes(tensors: Iterable[TensorSpec]) -> int:
    """Return the bytes of the largest block in one pass, the unit for counting what waits to be written.

    Return those of the largest tensor if it is larger, for example if no tensor belongs to a block.
    """
    totals: dict[tuple[str, int], int] = {}
    largest = 0
    for spec in tensors:
        largest = max(largest, spec.nbytes)
        if spec.layer is not None:
            run = "/".join(part for part in spec.path.split("/")[:-1] if part.startswith(("seed_", "step_")))
            totals[run, spec.layer] = totals.get((run, spec.layer), 0) + spec.nbytes
    return max([largest, *totals.values()])
