"""What is captured: settings, and the name, shape and order of every tensor that a model will give."""

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
    """Pick all of an output."""
    return output


@dataclass(frozen=True, kw_only=True)
class CaptureSettings:
    """What the caller asked for."""

    blocks: int  # Number of blocks of the model's trunk.
    recycles: int  # Passes through the trunk after the first.
    msa_depth: int  # Rows of the alignment, the sequence included.
    attention: tuple[str, ...]  # Kinds of attention to keep, such as ``"msa-row"``.
    # Tuple of int, "mean" or "all". What to keep of a triangle attention's maps: those of one residue (counted from 0),
    # their mean, or all.
    triangle: tuple[Selection, ...] = ("mean",)
    layers: tuple[int, ...] = ()  # Blocks to keep tensors of, counted from 0; every block when empty.
    device: str = "cpu"  # As torch names it.
    seed: int = 0  # Of weights that are drawn, and of whatever the model draws.
    source: Path | None = None  # A checkout of the model's code, for a model that is not a package.
    checkpoint: Path | None = None  # Weights; drawn from the seed when None.
    steps: int | None = None  # Of diffusion, for a model that has it; its own number when None.
    samples: int = 1  # Of a complex, for each seed.
    seeds: tuple[int, ...] = ()  # The model runs once for each; those of the query, or else `seed`, when empty.
    # Steps and layers of the diffusion to keep tensors of; all when empty.
    kept_steps: tuple[int, ...] = ()
    diffusion_layers: tuple[int, ...] = ()

    @property
    def kept_layers(self) -> tuple[int, ...]:
        """The blocks whose tensors are kept, in order."""
        return self.layers or tuple(range(self.blocks))


@dataclass(frozen=True)
class Site:
    """One tensor of every block, or of the end of every pass."""

    path: str  # With ``{layer}`` in place of the block's number, or ``{step}`` in place of the pass's.
    shape: tuple[int, ...]  # Of the tensor that is kept.
    axes: tuple[str, ...]  # Their names.
    role: Role  # What the tensor is.
    pick: Callable[[Any], Any] = whole  # Takes what the module gave, returns the tensor.

    def name(self, step: int, last: int, layer: int = 0) -> str:
        """Name the tensor of a block in a pass.

        The last pass has the schema's own groups, which are what a reader expects of a trace; an earlier pass has the
        same names under ``recycle/step_<k>/``.
        """
        path = self.path.format(layer=layer, step=step)
        return path if step == last or "{step}" in self.path else f"recycle/step_{step}/{path}"


@dataclass(frozen=True)
class AttentionKind:
    """One kind of attention in every block of a model."""

    name: str  # As the command line has it.
    heads: int  # Number of heads.
    # What the model computes a map for: each row of the alignment, of which the first is kept; each residue, of which
    # `CaptureSettings.triangle` says what is kept; or once: "sequence", "residue", "none".
    rows: Literal["sequence", "residue", "none"]
    module: str = ""  # Its place in a block.

    def sites(self, settings: CaptureSettings, residues: int) -> list[Site]:
        """List what is kept of its maps, shape ``(heads, residues, residues)``, in every block."""
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
    """Refuse settings that a model or a sequence does not have.

    Parameters
    ----------
    settings : CaptureSettings
        What to check.
    kinds : iterable of str
        The model's kinds of attention.
    residues : int
        Length of the sequence.

    Raises
    ------
    UsageError
        Naming the setting and what is possible.
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
    """List every tensor of a model's trunk, in the order in which it is computed.

    Parameters
    ----------
    settings : CaptureSettings
        Number of passes, and the blocks that are kept.
    sites : iterable of Site
        What each block gives, in order.
    ends : iterable of Site
        What each pass gives at its end.

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
    """List what every pass gives at its end: the representations that the schema keeps for each recycling step.

    The output has the single representation at `place`, and the pair representation second.
    """
    shape, axes = (residues, single), ("residue", "channel")
    return (
        Site("recycle/step_{step}/single_repr", shape, axes, Role.SINGLE, itemgetter(place)),
        pair_site(residues, pair, "recycle/step_{step}/pair_repr"),
    )


def pair_site(residues: int, channels: int, path: str = "pair/layer_{layer}") -> Site:
    """Return the pair representation, which a block and a pass return second."""
    shape, axes = (residues, residues, channels), ("residue", "residue", "pair_channel")
    return Site(path, shape, axes, Role.PAIR, itemgetter(1))


def layer_bytes(tensors: Iterable[TensorSpec]) -> int:
    """Return the bytes of the largest block in one pass, the unit in which what waits to be written is counted.

    Those of the largest tensor where no tensor belongs to a block.
    """
    totals: dict[tuple[str, int], int] = {}
    largest = 0
    for spec in tensors:
        largest = max(largest, spec.nbytes)
        if spec.layer is not None:
            run = "/".join(part for part in spec.path.split("/")[:-1] if part.startswith(("seed_", "step_")))
            totals[run, spec.layer] = totals.get((run, spec.layer), 0) + spec.nbytes
    return max([largest, *totals.values()])
