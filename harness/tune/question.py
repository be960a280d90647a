"""What is asked of the candidates of one role: a sample of its tensors, the accesses of the mix, and their weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness import registry
from harness.backends.archive import write_archive
from harness.backends.base import Backend, load_backend
from harness.errors import UsageError
from harness.measure import schedule
from harness.measure.config import RAW
from harness.measure.worker import Children
from harness.report.choice.costs import SUITES, Use
from harness.report.choice.mix import Mix
from harness.trace.schema import Manifest, Provenance, Role, TensorSpec
from harness.trace.sources import open_trace
from harness.trace.stream import Trace
from harness.tune.candidates import settings_of
from harness.workload import Absent, PlanOptions, ReadAccess, Suite, requested_bytes

OPTIONS = PlanOptions(attention_windows=16, pair_windows=8)
"""How many windows one sample reads."""

_REPEATS, _SHORT = 3, 16 << 20  # samples in each round of an access that asks for fewer bytes than that

_STEP = 64  # residues that the length of a sample is a multiple of, where it is longer

ROLES = {
    "attention_layer": (Role.ATTENTION,),
    "head": (Role.ATTENTION,),
    "window_attention": (Role.ATTENTION,),
    "pair_layer": (Role.PAIR,),
    "window_pair": (Role.PAIR,),
}
"""The roles that each access of a mix reads; one that is not named reads all."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One access of a mix on the sample.

    Attributes
    ----------
    suite : str
        The suite that plans it.
    access : ReadAccess
        What one sample of it reads.
    factor : float
        What its seconds are multiplied with to stand for the access on the whole trace.
    repeats : int
        Samples in each round, in which the sample is written only once: reads that are short are disturbed most.
    """

    suite: str
    access: ReadAccess
    factor: float
    repeats: int


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked for one role.

    Attributes
    ----------
    role : Role
        Which.
    spec : TensorSpec
        The tensor that is sampled, as it is in the trace.
    part : TensorSpec
        The corner of it that is written and read, in the chunks of the whole.
    use : Use
        The mix, with the shares of accesses to this role alone.
    reads : dict of str to Measured
        By access of the mix; accesses that read the same are measured once.
    factor : float
        Bytes of all tensors of the role, divided by those of the sample.
    """

    role: Role
    spec: TensorSpec
    part: TensorSpec
    use: Use
    reads: dict[str, Measured]
    factor: float

    @property
    def shown_sample(self) -> str:
        """What was sampled, for people."""
        axis = _cut_axes(self.spec)[0]
        taken, there = self.part.shape[axis], self.spec.shape[axis]
        share = f"all {there}" if taken == there else f"the first {taken} of {there}"
        name = {"residue": "residues"}.get(self.spec.axes[axis], "rows")
        return f"{share} {name} of {self.spec.path}"


def questions(
    backend: Backend, manifest: Manifest, mix: Mix, sample_bytes: int, seed: int
) -> tuple[list[Question], list[str]]:
    """Work out what to ask for each role that a format can tune and a trace has.

    Parameters
    ----------
    backend : Backend
        The format.
    manifest : Manifest
        What the trace holds.
    mix : Mix
        The use.
    sample_bytes : int
        Of a sample, at most, unless one of the longest chunks takes more.
    seed : int
        Decides windows and heads.

    Returns
    -------
    questions : list of Question
        In the order of the search space.
    notes : list of str
        What had to be assumed, one sentence each.

    Raises
    ------
    UsageError
        When the format has nothing to tune, or the trace has nothing of what could be tuned or of what the mix reads.
    """
    space = backend.search_space()
    if not space:
        raise UsageError(f"The format {backend.name!r} has nothing to tune.")
    tensors = {role: [s for s in manifest.tensors if s.role is role and s.items and s.shape] for role in space}
    tensors = {role: specs for role, specs in tensors.items() if specs}
    if not tensors:
        wanted = ", ".join(role.value for role in space)
        raise UsageError(f"The trace has no tensor of a role that {backend.name} can be tuned for ({wanted}).")
    use, notes = _usable(Use.of(mix), manifest)
    if use.readers > 1:
        notes.append(f"One reader at a time is measured, not the {use.readers} of the mix.")
    found = [_question(backend, specs, use, sample_bytes, seed, manifest.provenance) for specs in tensors.values()]
    return found, notes


def _usable(use: Use, manifest: Manifest) -> tuple[Use, list[str]]:
    """Leave out the accesses that the trace has no tensor for, the other shares scaled up, as the report does."""
    present = {spec.role for spec in manifest.tensors if spec.items}
    gone = [a for a, share in use.shares.items() if share and not present & set(ROLES.get(a, present))]
    kept = {access: share for access, share in use.shares.items() if share and access not in gone}
    if not kept:
        raise UsageError("The trace has none of the tensors that the mix reads: choose another --mix.")
    total = sum(kept.values())
    notes = [f"The trace has no tensor for {', '.join(gone)}: left out, the other shares scaled up."] if gone else []
    return use._replace(shares={access: share / total for access, share in kept.items()}), notes


def _question(
    backend: Backend, specs: list[TensorSpec], use: Use, sample_bytes: int, seed: int, provenance: Provenance
) -> Question:
    spec, role = specs[0], specs[0].role
    part = _part(backend, spec, sample_bytes)
    factor = sum(s.nbytes for s in specs) / part.nbytes
    shares = {access: share for access, share in use.shares.items() if role in ROLES.get(access, (role,))}
    manifest = Manifest(tensors=(part,), provenance=provenance)
    reads: dict[str, Measured] = {}
    for access in shares:
        suite_name, case = SUITES[access]
        suite: Suite = registry.load("suites", suite_name)
        rng = schedule.generator(seed, "tune", suite_name, spec.path)
        planned = next(a for a in suite.plan(manifest, rng, OPTIONS) if a.name == case)
        if isinstance(planned, Absent) or not isinstance(planned, ReadAccess):
            raise UsageError(f"The trace gives nothing to read for {access} of the mix: {spec.path} is too small.")
        scale = factor if access == "full_read" else _scale(access, spec, part)
        same = next((m for m in reads.values() if m.access.reads == planned.reads), None)
        reads[access] = Measured(
            suite=same.suite if same else suite_name,
            access=same.access if same else planned,
            factor=scale,
            repeats=_REPEATS if requested_bytes(manifest, planned.reads) < _SHORT else 1,
        )
    return Question(role=role, spec=spec, part=part, use=use._replace(shares=shares), reads=reads, factor=factor)


def _scale(access: str, spec: TensorSpec, part: TensorSpec) -> float:
    """Return how many times the work of an access on the sample the same access on the whole tensor is."""
    if access == "window_attention":
        return 1 / OPTIONS.attention_windows
    if access == "window_pair":
        return 1 / OPTIONS.pair_windows
    return spec.nbytes / part.nbytes


def _part(backend: Backend, spec: TensorSpec, sample_bytes: int) -> TensorSpec:
    """Cut a tensor to what fits: as many residues as that are, but no fewer than the longest chunk of any candidate."""
    if spec.nbytes <= sample_bytes:
        return spec
    axes = _cut_axes(spec)
    length = spec.shape[axes[0]]
    fitting = int(length * (sample_bytes / spec.nbytes) ** (1 / len(axes)))
    fitting -= fitting % _STEP if fitting > _STEP else 0
    length = min(length, max(fitting, *_longest_chunks(backend, spec, axes)))
    shape = tuple(length if axis in axes else n for axis, n in enumerate(spec.shape))
    return dataclasses.replace(spec, shape=shape)


def _cut_axes(spec: TensorSpec) -> list[int]:
    """Return the axes that a sample is cut along: those of residues, all alike, or else the first."""
    return [axis for axis, name in enumerate(spec.axes) if name == "residue"] or [0]


def _longest_chunks(backend: Backend, spec: TensorSpec, axes: Sequence[int]) -> Iterator[int]:
    yield 1
    for parameter in backend.search_space()[spec.role]:
        for value in parameter.values:
            chunks = backend.layout(spec, settings_of(backend, spec, "", [(parameter.name, value)])).chunks
            yield from (chunks[axis] for axis in axes if chunks)


class Corner(Trace):
    """The first residues, or the first rows, of one tensor of a trace.

    Parameters
    ----------
    trace : Trace
        Where they come from.
    part : TensorSpec
        Of the same path, shorter along some axes or as long.
    """

    def __init__(self, trace: Trace, part: TensorSpec) -> None:
        self._trace = trace
        self.label = trace.label
        residues = next((n for n, name in zip(part.shape, part.axes, strict=True) if name == "residue"), None)
        metadata = dataclasses.replace(trace.manifest.metadata, num_residues=residues)
        self.manifest = dataclasses.replace(trace.manifest, metadata=metadata, tensors=(part,), digests={})

    def blocks(self, path: str) -> Iterator[np.ndarray]:
        rows, *others = self.manifest[path].shape
        for block in self._trace.blocks(path):
            yield np.ascontiguousarray(block[(slice(0, rows), *(slice(0, n) for n in others))])
            rows -= len(block)
            if rows <= 0:
                return


@dataclass(frozen=True, kw_only=True)
class SampleTask:
    """Write the sample of a role as a raw archive, from which candidates are written and against which they are read.

    Attributes
    ----------
    source : str
        The trace as ``NAME[:key=value,...]``.
    n_res : int or None
        Sequence length, for a trace that is made in any length.
    part : TensorSpec
        What of a tensor to take.
    destination : Path
        The archive.
    """

    source: str
    n_res: int | None
    part: TensorSpec
    destination: Path

    def run(self, children: Children) -> Manifest:
        """Return the manifest of the sample, with its digest."""
        trace = Corner(open_trace(self.source, self.n_res), self.part)
        return write_archive(trace, load_backend(RAW), self.destination)
