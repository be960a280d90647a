"""The manifest of a capture: tensors, metadata, and everything that determines the values."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from harness.extensions.capture.inputs import Query
from harness.extensions.capture.plan import CaptureSettings
from harness.trace.chains import Chain
from harness.trace.manifest import Manifest, Metadata, Provenance
from harness.trace.schema import TensorSpec, tensor

_FRAMES = (
    "each diffusion step is in a frame of its own, because the model turns and shifts all atoms at random before it; "
    "the predicted structure is in that of the last step"
)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Facts on a model, given by its adapter."""

    # Name and version of the model.
    name: str
    version: str
    config: str  # The configuration, in a few words.
    # Heads of the first kind of attention; channels of the single representation.
    heads: int
    hidden: int
    libraries: str  # Libraries that compute, with their versions.
    remark: str  # Anything else that a reader must know.
    representations: tuple[str, ...] = ("single", "pair")  # Representations that its blocks pass on.


def input_tensors(query: Query) -> dict[TensorSpec, np.ndarray]:
    """Return the sequence and the alignment as tensors of ASCII letters."""
    arrays = {"inputs/sequence": np.frombuffer(query.sequence.encode(), np.uint8), "inputs/msa": query.msa}
    return {tensor(path, array.shape, array.dtype): array for path, array in arrays.items()}


def _computed(settings: CaptureSettings) -> list[str]:
    """Return notes on how values were computed; `harness.extensions.capture.trunk.copied` takes float32 only."""
    transposed = "triangle_end maps are in the transposed frame in which the model computes them"
    return [
        f"computed in float32 on {settings.device}",
        *([transposed] if "triangle-end" in settings.attention else []),
    ]


def complex_manifest(
    *,
    name: str,
    version: str,
    config: str,
    heads: int,
    hidden: int,
    notes: Iterable[str],
    trained: bool,
    settings: CaptureSettings,
    seeds: tuple[int, ...],
    title: str,
    tensors: Iterable[TensorSpec],
    chains: tuple[Chain, ...],
) -> Manifest:
    """Return the manifest of a capture of a complex before it starts, without digests.

    Parameters
    ----------
    name, version, config, heads, hidden
        Facts on the model, as in `Facts`.
    notes : iterable of str
        Notes for the reader: on weights, features and libraries.
    trained : bool
        Whether the weights come from a checkpoint.
    settings : CaptureSettings
        Settings of the capture.
    seeds : tuple of int
        Seed of each run of the model.
    title : str
        Name of the query.
    tensors : iterable of TensorSpec
        Tensors in the order in which the model gives them.
    chains : tuple of Chain
        Chains of the complex.
    """
    kept = {
        "layers": settings.layers, "steps": settings.kept_steps, "layers of the diffusion": settings.diffusion_layers
    }  # fmt: skip
    said = (f"{what} {','.join(map(str, numbers)) or 'all'}" for what, numbers in kept.items())
    what = (
        f"blocks {settings.blocks}, recycles {settings.recycles}, seeds {','.join(map(str, seeds))}, samples "
        f"{settings.samples}, weights of seed {settings.seed}; kept: {', '.join(said)}; attention "
        f"{','.join(settings.attention) or 'none'}, triangle maps {','.join(map(str, settings.triangle)) or 'none'}"
    )
    metadata = Metadata(
        model_name=name,
        model_version=version,
        config_version=config,
        num_layers=settings.blocks,
        num_heads=heads,
        hidden_dim=hidden,
        num_recycles=settings.recycles,
        residue_indexing_scheme="counted from 1 in each chain",
        input_description=f"{title}: chains {', '.join(f'{chain.name} ({chain.kind})' for chain in chains)}",
        timestamp=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        representation_names=("single", "pair", "token_repr"),
    )
    note = "; ".join([*notes, what, *_computed(settings), _FRAMES])
    provenance = Provenance(
        source=f"captured live from {name} {version}", seed=seeds[0], trained=trained, bf16_born=False, note=note
    )
    return Manifest(tensors=tuple(tensors), metadata=metadata, provenance=provenance, chains=chains)


def describe(
    facts: Facts, weights: str, trained: bool, settings: CaptureSettings, query: Query, tensors: Iterable[TensorSpec]
) -> Manifest:
    """Return the manifest of a capture before it starts, without digests.

    Parameters
    ----------
    facts : Facts
        Facts on the model.
    weights : str
        Origin of its weights.
    trained : bool
        Whether the weights come from a checkpoint.
    settings : CaptureSettings
        Settings of the capture.
    query : Query
        Input of the model.
    tensors : iterable of TensorSpec
        Tensors in the order in which the model gives them.
    """
    maps = ",".join(map(str, settings.triangle)) or "none"
    last, layers = settings.recycles, ",".join(map(str, settings.layers)) or "all"
    earlier = "; layers of earlier ones are under recycle/step_<k>/ with the same names" if last else ""
    alignment = f"{len(query.msa)} rows of its alignment" if query.files else "single-sequence alignment"
    metadata = Metadata(
        model_name=facts.name,
        model_version=facts.version,
        config_version=facts.config,
        num_layers=settings.blocks,
        num_heads=facts.heads,
        hidden_dim=facts.hidden,
        num_residues=query.residues,
        num_recycles=last,
        residue_indexing_scheme="counted from 0 along the chain",
        input_description=f"{query.name}: {query.residues} residues, {alignment}",
        timestamp=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        recycle_info=f"passes step_0 to step_{last}; layers of the last are in the plain groups{earlier}",
        representation_names=facts.representations,
    )
    note = [
        weights,
        facts.remark,
        f"blocks {settings.blocks}, layers {layers}, recycles {settings.recycles}, seed {settings.seed}",
        f"attention {','.join(settings.attention) or 'none'}, triangle maps {maps}",
        *_computed(settings),
        *(f"alignment {name}, sha256 {digest}" for name, digest in query.files),
        facts.libraries,
    ]
    provenance = Provenance(
        source=f"captured live from {facts.name} {facts.version}",
        seed=settings.seed,
        trained=trained,
        bf16_born=False,
        note="; ".join(note),
    )
    return Manifest(tensors=tuple(tensors), metadata=metadata, provenance=provenance)
