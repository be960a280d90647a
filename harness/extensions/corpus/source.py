"""A synthetic corpus: ``--trace corpus:proteins=...,layers=...``, a representation per residue of many proteins.

Lengths are log-normal with the mean of Swiss-Prot, 367 residues (release 41: 44,986,459 amino acids in 122,564 entries,
https://www.uniprot.org/help/2003/02/01/full). Their median of 300 is an assumption, from which the spread follows.
Values have the statistics of AlphaFold2's single representation (`harness.trace.protein`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np

from harness.errors import UsageError
from harness.trace import protein
from harness.trace.manifest import Manifest, Metadata, Provenance, validate
from harness.trace.random import SEED_LIMIT, Stream, bfloat16_bits, exp
from harness.trace.schema import MOST_TENSORS, Role, TensorSpec, tensor
from harness.trace.stream import ParameterValues, Trace, TraceSource, block_rows, parse_parameters, split

_MEDIAN, _SPREAD = 300.0, 0.635
"""Median and spread of log-normal lengths: the spread is sqrt(2 log(mean / median))."""
_SHORTEST, _LONGEST = 20, 4000

_KNOWN: Mapping[str, ParameterValues] = {
    "proteins": range(1, MOST_TENSORS),
    "layers": range(1, 1001),
    "width": range(1, 100_001),
    "layout": ("proteins", "rows"),
    "dtype": ("bfloat16", "float32"),
    "seed": range(SEED_LIMIT),
}

STARTS = "rows/starts"
"""Tensor with the first row of each protein among the rows of all; its last value is the number of rows."""

PROTEIN_AXES, ROW_AXES = ("position", "channel"), ("row", "channel")
"""Axes of a layer of one protein, and of a layer of all proteins."""


@dataclass(frozen=True, kw_only=True)
class CorpusParameters:
    """Parameters that ``--trace corpus:key=value,...`` may set."""

    # Number of proteins, of layers of each, and of channels of a row.
    proteins: int = 100
    layers: int = 2
    width: int = 384
    # A tensor for each layer of each protein, or one for each layer with the rows of all proteins: "proteins", "rows".
    layout: str = "proteins"
    dtype: str = "bfloat16"  # Type of the values: "bfloat16", "float32".
    seed: int = 0  # Selects lengths and values.

    @property
    def label(self) -> str:
        """``corpus`` with the number of proteins, the layout, and all else that differs from the defaults."""
        shown = (f.name for f in fields(self) if f.name in ("proteins", "layout") or getattr(self, f.name) != f.default)
        return "corpus:" + ",".join(f"{name}={getattr(self, name)}" for name in shown)


def parse(text: str) -> CorpusParameters:
    """Read the text after ``corpus:``; UsageError for unknown keys, values, or more tensors than a trace may have."""
    found = CorpusParameters(**parse_parameters(text, _KNOWN, "corpus"))
    if found.layout == "proteins" and found.proteins * found.layers > MOST_TENSORS:
        raise UsageError(
            f"{found.proteins} proteins of {found.layers} layers are more than {MOST_TENSORS} tensors: give fewer, or "
            "layout=rows."
        )
    return found


def lengths(seed: int, count: int) -> np.ndarray:
    """Draw lengths of proteins in residues, int64 of shape ``(count,)``."""
    drawn = exp(Stream(seed, "lengths").normal((count,)) * np.float32(_SPREAD)) * np.float32(_MEDIAN)
    return np.clip(np.rint(drawn).astype(np.int64), _SHORTEST, _LONGEST)


def starts_of(manifest: Manifest) -> np.ndarray | None:
    """Return the values of `STARTS`, int64 of shape ``(proteins + 1,)``, without reading them.

    They follow from the seed. Return None if there is no such table, or if it does not match the number of rows, as
    for a trace that was not made here.
    """
    table = next((spec for spec in manifest.tensors if spec.path == STARTS and len(spec.shape) == 1), None)
    seed = manifest.provenance.seed
    if (
        table is None
        or seed is None
        or seed not in range(SEED_LIMIT)
        or table.shape[0] - 1 not in range(1, MOST_TENSORS)
    ):
        return None
    starts = _starts(lengths(seed, table.shape[0] - 1))
    rows = {spec.shape[0] for spec in manifest.tensors if spec.axes == ROW_AXES}
    return starts if rows == {int(starts[-1])} else None


def _starts(counts: np.ndarray) -> np.ndarray:
    return np.concatenate(([0], np.cumsum(counts)))


class CorpusTrace(Trace):
    """A corpus whose values are computed from the seed, each layer of each protein on its own."""

    def __init__(self, parameters: CorpusParameters) -> None:
        self.parameters = parameters
        self.label = parameters.label
        p = parameters
        provenance = Provenance(
            source=p.label, seed=p.seed, bf16_born=False,
            note="Values imitate the statistics of AlphaFold2's single representation; they come from no model.",
        )  # fmt: skip
        metadata = Metadata(
            model_name="synthetic", num_layers=p.layers, hidden_dim=p.width,
            input_description=f"{p.proteins} random proteins, {int(self.lengths.sum())} residues",
        )  # fmt: skip
        self.manifest = Manifest(tensors=tuple(self._tensors()), metadata=metadata, provenance=provenance)
        validate(self.manifest)

    @cached_property
    def lengths(self) -> np.ndarray:
        """Residues of each protein, int64 of shape ``(proteins,)``."""
        return lengths(self.parameters.seed, self.parameters.proteins)

    def _tensors(self) -> Iterator[TensorSpec]:
        p = self.parameters
        if p.layout == "proteins":
            for number, length in enumerate(self.lengths.tolist()):
                for layer in range(p.layers):
                    path = f"proteins/{number}/layer_{layer}"
                    yield tensor(path, (length, p.width), p.dtype, axes=PROTEIN_AXES, role=Role.ACTIVATION)
            return
        yield tensor(STARTS, (p.proteins + 1,), "int64", axes=("protein",), role=Role.INPUT)
        for layer in range(p.layers):
            shape = (int(self.lengths.sum()), p.width)
            yield tensor(f"rows/layer_{layer}", shape, p.dtype, axes=ROW_AXES, role=Role.ACTIVATION)

    def blocks(self, path: str) -> Iterator[np.ndarray]:
        self.manifest[path]  # raises if there is no such tensor
        if path == STARTS:
            yield from split(_starts(self.lengths))
            return
        *group, last = path.split("/")
        layer = int(last.removeprefix("layer_"))
        numbers = [int(group[1])] if len(group) > 1 else range(self.parameters.proteins)
        for number in numbers:
            yield from self._rows(number, layer)

    def _rows(self, number: int, layer: int) -> Iterator[np.ndarray]:
        p, length = self.parameters, int(self.lengths[number])
        bfloat16 = p.dtype == "bfloat16"
        rows = block_rows((length, p.width), 4)
        for block in protein.single_rows(p.seed, f"protein {number} layer {layer}", length, p.width, rows, bfloat16):
            yield bfloat16_bits(block) if bfloat16 else block


source = TraceSource(
    name="corpus",
    description="a representation per residue of many proteins: proteins=100, layers=2, layout=proteins or rows",
    open=lambda text, n_res: CorpusTrace(parse(text)),
)
