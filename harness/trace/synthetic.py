"""Synthetic traces of any length, generated as they are read, with the same bytes on every machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields

import numpy as np

from harness import registry
from harness.errors import UsageError
from harness.trace import protein, structure
from harness.trace.manifest import Manifest, Metadata, Provenance
from harness.trace.random import SEED_LIMIT, Stream
from harness.trace.schema import TensorSpec, tensor
from harness.trace.stream import ParameterValues, Trace, TraceSource, block_rows, parse_parameters, recut, split

_MOST_LAYERS, _MOST_OTHERS = 5000, 1_000_000
_KNOWN: Mapping[str, ParameterValues] = {
    "n_res": range(1, _MOST_OTHERS + 1),
    "values": ("protein", "noise"),
    "layers": range(1, _MOST_LAYERS + 1),
    **dict.fromkeys(("heads", "hidden_dim", "pair_dim"), range(1, _MOST_OTHERS + 1)),
    "recycles": range(_MOST_LAYERS + 1),
    "n_seq": range(_MOST_OTHERS + 1),
    "dtype": ("bf16", "float32"),
    "seed": range(SEED_LIMIT),
    "filled": ("activations", "both"),
}


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Parameters of ``--trace synthetic:key=value,...``."""

    n_res: int  # Number of residues.
    # "protein": values with the statistics of real tensors; "noise": standard normal, as in the earlier comparison.
    values: str = "protein"
    # Dimensions of the model.
    layers: int = 12
    heads: int = 8
    hidden_dim: int = 384
    pair_dim: int = 128
    recycles: int = 0  # Number of recycling steps whose representations are kept.
    n_seq: int = 0  # Rows of the alignment; 0 for none.
    # "bf16": pair and single tensors are rounded to bfloat16, as by a model that computes in it; "float32": they are
    # not. All tensors are stored as float32. Noise is always "float32".
    dtype: str = "bf16"
    seed: int = 0  # Selects the values.
    # "activations": representations are only under ``activations``; "both": also under ``single`` and ``pair``.
    filled: str = "activations"

    @property
    def label(self) -> str:
        """``synthetic:`` with the kind of values and all parameters other than the defaults, except the length."""
        parts = [f"values={self.values}"]
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name in ("n_res", "values") or value == _default(self.values, item.name):
                continue
            parts.append(f"{item.name}={value}")
        return "synthetic:" + ",".join(parts)


def _default(values: str, key: str) -> object:
    return "float32" if (values, key) == ("noise", "dtype") else getattr(Parameters, key)


def parse(text: str, n_res: int | None) -> Parameters:
    """Read parameters from the text after ``synthetic:``.

    Parameters
    ----------
    text : str
        ``key=value,...``; may be empty.
    n_res : int or None
        Number of residues, if it is given separately.

    Returns
    -------
    Parameters
        Validated parameters.

    Raises
    ------
    UsageError
        For an unknown key or choice, a number out of range, a length that is missing or given twice with different
        values, or a combination that noise does not have.
    """
    given = parse_parameters(text, _KNOWN, "synthetic")
    if n_res is not None:
        size = parse_parameters(f"n_res={n_res}", _KNOWN, "synthetic")["n_res"]
        if given.setdefault("n_res", size) != size:
            raise UsageError(
                f"The number of residues is given twice and differs: n_res={given['n_res']} and size {n_res}."
            )
    if "n_res" not in given:
        raise UsageError("The trace source 'synthetic' needs a number of residues: give n_res=... or a size.")
    if given.get("values") == "noise":
        for key in ("recycles", "n_seq"):
            if given.get(key):
                raise UsageError(f"The noise of 'synthetic' has no {key}: leave {key} out, or choose values=protein.")
        if given.setdefault("dtype", "float32") != "float32":
            raise UsageError("The noise of 'synthetic' is float32: leave dtype out, or choose values=protein.")
    return Parameters(**given)


class SyntheticTrace(Trace):
    """A trace whose tensors are computed block by block from the seed, independently and in any order."""

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        self.label = parameters.label
        self.manifest = _manifest(parameters)
        self._channels = protein.pair_channels(parameters.seed, parameters.pair_dim)

    def blocks(self, path: str) -> Iterator[np.ndarray]:
        spec = self.manifest[path]
        if self.parameters.values == "noise":
            yield from self._noise(spec)
            return
        rows = block_rows(spec.shape, 4) if spec.shape else 1
        kind, name = _identity(path)
        p = self.parameters
        if kind == "pair":
            band = -(-rows // protein.TILE) * protein.TILE
            made = protein.pair_rows(p.seed, name, p.n_res, self._channels, band, p.dtype == "bf16")
            yield from recut(made, rows)
        elif kind == "single":
            yield from protein.single_rows(p.seed, name, p.n_res, p.hidden_dim, rows, p.dtype == "bf16")
        elif kind == "attention":
            sharp = protein.sharpness(spec.layer or 0, p.heads)
            yield from recut(protein.attention_heads(p.seed, name, p.n_res, sharp), rows)
        elif path == "inputs/msa":
            rows = block_rows(spec.shape, 1)
            for start in range(0, p.n_seq, rows):
                yield structure.msa_rows(p.seed, p.n_res, start, min(start + rows, p.n_seq))
        else:
            yield from split(structure.TENSORS[path](p.seed, p.n_res))

    def _noise(self, spec: TensorSpec) -> Iterator[np.ndarray]:
        stream = Stream(self.parameters.seed, "noise " + _identity(spec.path)[1])
        rows = block_rows(spec.shape, 4)
        width = spec.items // spec.shape[0]
        for start in range(0, spec.shape[0], rows):
            block = np.empty((min(rows, spec.shape[0] - start), *spec.shape[1:]), np.float32)
            stream.fill_normal(block.reshape(-1), start * width)
            yield block


def _identity(path: str) -> tuple[str, str]:
    """Return the kind of a tensor and the name that selects its values, equal for both places of a representation."""
    group, *rest = path.split("/")
    if group in ("activations", "recycle"):
        kind = rest[1].removesuffix("_repr")
        return kind, f"{kind} {rest[0]}"
    return group, f"{group} {rest[0]}"


def _manifest(p: Parameters) -> Manifest:
    n, noise = p.n_res, p.values == "noise"
    single, pair, atoms = (n, p.hidden_dim), (n, n, p.pair_dim), (n, len(structure.ATOMS))
    tensors: list[TensorSpec] = []
    if not noise:
        tensors.append(tensor("inputs/sequence", (n,), "uint8"))
        if p.n_seq:
            tensors.append(tensor("inputs/msa", (p.n_seq, n), "uint8"))
    for i in range(p.layers):
        tensors.append(tensor(f"activations/layer_{i}/single_repr", single))
        tensors.append(tensor(f"activations/layer_{i}/pair_repr", pair))
        tensors.append(tensor(f"attention/layer_{i}", (p.heads, n, n)))
        if p.filled == "both":
            tensors += [tensor(f"single/layer_{i}", single), tensor(f"pair/layer_{i}", pair)]
    for k in range(p.recycles):
        tensors += [tensor(f"recycle/step_{k}/single_repr", single), tensor(f"recycle/step_{k}/pair_repr", pair)]
    if not noise:
        tensors += [tensor("structure/atom_positions", (*atoms, 3)), tensor("structure/atom_mask", atoms)]
        tensors.append(tensor("structure/ptm", ()))
    tensors += [tensor("outputs/coordinates", (n, 3)), tensor("outputs/confidence_scores", (n,))]
    metadata = Metadata(
        model_name="synthetic",
        num_layers=p.layers,
        num_heads=p.heads,
        hidden_dim=p.hidden_dim,
        num_residues=n,
        num_recycles=p.recycles,
        residue_indexing_scheme="zero-based",
        input_description="standard normal noise" if noise else "random sequence in natural amino-acid frequencies",
        recycle_info=f"representations after each of {p.recycles} recycling steps" if p.recycles else None,
        representation_names=("single_repr", "pair_repr", "attention"),
    )
    return Manifest(tensors=tuple(tensors), metadata=metadata, provenance=_provenance(p))


def _provenance(p: Parameters) -> Provenance:
    imitated = "Values imitate the statistics of real tensors; they come from no model."
    note = f"Pair and single tensors have full float32 mantissas. {imitated}"
    if p.values == "noise":
        note = "Every tensor is independent standard normal noise with full float32 mantissas."
    elif p.dtype == "bf16":
        note = (
            "Pair and single tensors are exactly representable in bfloat16; attention, coordinates and confidences are "
            f"not. {imitated}"
        )
    # False for the complete trace, because attention is never rounded to bfloat16.
    return Provenance(source=p.label, seed=p.seed, trained=None, bf16_born=False, note=note)


def open_synthetic(text: str, n_res: int | None) -> Trace:
    """Open a synthetic trace: of AlphaFold2's schema, or with ``model=NAME`` of a registered generator.

    Parameters
    ----------
    text : str
        ``key=value,...``, the text after ``synthetic:``.
    n_res : int or None
        The length, if it is given separately.

    Returns
    -------
    Trace
        Opened trace; no tensor is generated yet.

    Raises
    ------
    UsageError
        For a model that is not registered, and as for `parse`.
    """
    parts = text.split(",")
    named = [part for part in parts if part.startswith("model=")]
    if not named:
        return SyntheticTrace(parse(text, n_res))
    generator = registry.load("generators", named[0].removeprefix("model="))
    others = ",".join(part for part in parts if part is not named[0])
    made: Trace = generator(others, n_res)
    return made


source = TraceSource(
    name="synthetic",
    description="generated in any length, with the statistics of real tensors or as noise (values=noise)",
    open=open_synthetic,
    sized=True,
)
