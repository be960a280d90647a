"""What is captured: settings, and the name, shape and order of every tensor that a model will give."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.errors import UsageError, unknown_name
from harness.trace.schema import Role, TensorSpec, tensor

Rows = Literal["sequence", "residue", "none"]
Selection = int | Literal["mean", "all"]

_MAP = ("head", "residue", "residue")
_FULL_MAP = ("residue", *_MAP)


@dataclass(frozen=True, kw_only=True)
class CaptureSettings:
    """What the caller asked for.

    Attributes
    ----------
    blocks : int
        Number of blocks of the model's trunk.
    recycles : int
        Passes through the trunk after the first.
    msa_depth : int
        Rows of the alignment, the sequence included.
    attention : tuple of str
        Kinds of attention to keep, such as ``"msa-row"``.
    triangle : tuple of int, "mean" or "all"
        What to keep of a triangle attention's maps: those of one residue (counted from 0), their mean, or all.
    layers : tuple of int
        Blocks to keep tensors of, counted from 0; every block when empty.
    device : str
        As torch names it.
    seed : int
        Of weights that are drawn, and of whatever the model draws.
    source : Path or None
        A checkout of the model's code, for a model that is not a package.
    checkpoint : Path or None
        Weights; drawn from the seed when None.
    steps : int or None
        Of diffusion, for a model that has it; its own number when None.
    """

    blocks: int
    recycles: int
    msa_depth: int
    attention: tuple[str, ...]
    triangle: tuple[Selection, ...] = ("mean",)
    layers: tuple[int, ...] = ()
    device: str = "cpu"
    seed: int = 0
    source: Path | None = None
    checkpoint: Path | None = None
    steps: int | None = None

    @property
    def kept_layers(self) -> tuple[int, ...]:
        """The blocks whose tensors are kept, in order."""
        return self.layers or tuple(range(self.blocks))


@dataclass(frozen=True)
class AttentionKind:
    """One kind of attention in every block of a model.

    Attributes
    ----------
    name : str
        As the command line has it.
    heads : int
        Number of heads.
    rows : {"sequence", "residue", "none"}
        What the model computes a map for: each row of the alignment, of which the first is kept; each residue, of
        which `Settings.triangle` says what is kept; or once.
    """

    name: str
    heads: int
    rows: Rows


@dataclass(frozen=True)
class Site:
    """One tensor of every block.

    Attributes
    ----------
    path : str
        With ``{layer}`` in place of the block's number.
    shape : tuple of int
        Of the tensor that is kept.
    axes : tuple of str
        Their names.
    role : Role
        What the tensor is.
    """

    path: str
    shape: tuple[int, ...]
    axes: tuple[str, ...]
    role: Role


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


def attention_path(kind: AttentionKind, chosen: Selection | None) -> str:
    """Return the path of a `Site`, such as ``attention/triangle_start_residue_18/layer_{layer}``."""
    name = kind.name.replace("-", "_")
    if chosen is not None:
        name += f"_residue_{chosen}" if isinstance(chosen, int) else f"_{chosen}"
    return f"attention/{name}/layer_{{layer}}"


def selections(kind: AttentionKind, settings: CaptureSettings) -> tuple[Selection | None, ...]:
    """Return what is kept of each map of a kind, in order; None where there is nothing to choose."""
    if kind.name not in settings.attention:
        return ()
    return settings.triangle if kind.rows == "residue" else (None,)


def attention_sites(kind: AttentionKind, settings: CaptureSettings, residues: int) -> list[Site]:
    """List the attention tensors of one kind that every block gives.

    Parameters
    ----------
    kind : AttentionKind
        The kind.
    settings : CaptureSettings
        Say whether and what of it is kept.
    residues : int
        Length of the sequence.

    Returns
    -------
    list of Site
        Shape ``(heads, residues, residues)``, behind one axis of residues where all maps are kept.
    """
    sites = []
    for chosen in selections(kind, settings):
        path = attention_path(kind, chosen)
        shape = (kind.heads, residues, residues)
        if chosen == "all":
            sites.append(Site(path, (residues, *shape), _FULL_MAP, Role.ATTENTION))
        else:
            sites.append(Site(path, shape, _MAP, Role.ATTENTION))
    return sites


def site_path(path: str, layer: int, step: int, recycles: int) -> str:
    """Name the tensor of a block in a pass.

    The last pass has the schema's own groups, which are what a reader expects of a trace; an earlier pass has the same
    names under ``recycle/step_<k>/``.

    Parameters
    ----------
    path : str
        Of a `Site`.
    layer, step : int
        Block and pass, counted from 0.
    recycles : int
        Number of the last pass.

    Returns
    -------
    str
        Such as ``pair/layer_3`` or ``recycle/step_0/pair/layer_3``.
    """
    plain = path.format(layer=layer)
    return plain if step == recycles else f"recycle/step_{step}/{plain}"


def trunk_tensors(settings: CaptureSettings, sites: Iterable[Site], ends: Iterable[Site]) -> list[TensorSpec]:
    """List every tensor of a model's trunk, in the order in which it is computed.

    Parameters
    ----------
    settings : CaptureSettings
        Number of passes, and the blocks that are kept.
    sites : iterable of Site
        What each block gives, in order.
    ends : iterable of Site
        What each pass gives at its end, with ``{step}`` in its path.

    Returns
    -------
    list of TensorSpec
        Pass by pass, block by block; float32.
    """
    sites, ends = list(sites), list(ends)
    found = []
    for step in range(settings.recycles + 1):
        for layer in settings.kept_layers:
            for site in sites:
                path = site_path(site.path, layer, step, settings.recycles)
                found.append(tensor(path, site.shape, axes=site.axes, role=site.role))
        for site in ends:
            found.append(tensor(site.path.format(step=step), site.shape, axes=site.axes, role=site.role))
    return found


def end_sites(residues: int, single: int, pair: int) -> list[Site]:
    """List what every pass gives at its end: the representations that the schema keeps for each recycling step."""
    return [
        Site("recycle/step_{step}/single_repr", (residues, single), ("residue", "channel"), Role.SINGLE),
        Site(
            "recycle/step_{step}/pair_repr",
            (residues, residues, pair),
            ("residue", "residue", "pair_channel"),
            Role.PAIR,
        ),
    ]


def pair_site(residues: int, channels: int) -> Site:
    """Return the pair representation after a block."""
    return Site("pair/layer_{layer}", (residues, residues, channels), ("residue", "residue", "pair_channel"), Role.PAIR)


def layer_bytes(tensors: Iterable[TensorSpec]) -> int:
    """Return the bytes of the largest block in one pass, the unit in which what waits to be written is counted.

    Parameters
    ----------
    tensors : iterable of TensorSpec
        Of a manifest.

    Returns
    -------
    int
        Bytes; those of the largest tensor where no tensor belongs to a block.
    """
    totals: dict[tuple[str, int], int] = {}
    largest = 0
    for spec in tensors:
        largest = max(largest, spec.nbytes)
        if spec.layer is not None:
            step = spec.path.partition("/")[2].partition("/")[0] if spec.path.startswith("recycle/") else ""
            totals[step, spec.layer] = totals.get((step, spec.layer), 0) + spec.nbytes
    return max([largest, *totals.values()])
