"""The task for the candidates of one role: a sample of its tensors, the accesses of the mix, and their weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.analysis.choice.costs import Use
from harness.analysis.choice.mix import Mix
from harness.errors import UsageError
from harness.extensions.tune.candidates import settings_of
from harness.extensions.tune.tensor_sample import corner_of, cut, cut_axes, in_whole_chunks, within
from harness.formats.base import Format, Layout
from harness.formats.settings import search_space
from harness.run import schedule
from harness.suite import load_suite, mix_reads
from harness.trace.manifest import Manifest
from harness.trace.schema import Role, TensorSpec
from harness.workload import PlanOptions, ReadAccess, requested_bytes

OPTIONS = PlanOptions(attention_windows=16, pair_windows=8)
"""Number of windows that one sample reads."""

_REPEATS, _SHORT = 3, 16 << 20  # samples per round of an access that requests fewer than `_SHORT` bytes


@dataclass(frozen=True, kw_only=True)
class TuneConfig:
    """Settings of a search, in addition to its questions."""

    run_id: str  # Name of the search, and of its folder.
    backend: str  # Argument of `load_format`.
    # The trace as ``NAME[:key=value,...]``, and its name in records.
    source: str
    trace: str
    # The requested length of the trace, and its actual one.
    requested: int | None
    n_res: int | None
    # Number of rounds of the last candidates, and number of candidates for each role.
    rounds: int
    most: int
    seed: int  # Determines draws, windows and order.
    timeout: float  # Seconds after which a sample counts as hung.
    reader: str  # One of the format's readers.
    threads: int | None = None  # Thread budget of each candidate; None for all processors.


@dataclass(frozen=True, kw_only=True)
class MeasuredUse:
    """One access of a mix on the sample."""

    suite: str  # The suite that plans it.
    access: ReadAccess  # The reads of one sample.
    factor: float  # Multiplier of its seconds that gives those of the access on the complete trace.
    grows: bool  # Whether it takes longer on a larger corner; windows do not.
    # Samples per round, for one write of the archive. Short reads get several, as they are disturbed most.
    repeats: int


@dataclass(frozen=True, kw_only=True)
class TuneQuestion:
    """The measurements for one role."""

    role: Role  # The role.
    spec: TensorSpec  # The sampled tensor, as it is in the trace.
    part: TensorSpec  # The sampled corner of it.
    use: Use  # The mix, with only the shares of accesses to this role.
    reads: dict[str, MeasuredUse]  # By access of the mix; accesses with the same reads are measured once.
    factor: float  # Bytes of all tensors of the role, divided by those of the corner.

    @property
    def shown_sample(self) -> str:
        """The sampled part in words."""
        axis = cut_axes(self.spec)[0]
        taken, there = self.part.shape[axis], self.spec.shape[axis]
        share = f"all {there}" if taken == there else f"the first {taken} of {there}"
        return f"{share} {'residues' if self.spec.axes[axis] == 'residue' else 'rows'} of {self.spec.path}"

    def part_for(self, layout: Layout) -> TensorSpec:
        """Return the part of the corner that a layout measures: the corner, shortened to complete chunks."""
        return in_whole_chunks(self.spec, self.part, layout)

    def scale(self, layout: Layout) -> float:
        """Return the size of the corner divided by that of its part for a layout."""
        return self.part.nbytes / self.part_for(layout).nbytes

    def accesses(self, part: TensorSpec) -> list[tuple[MeasuredUse, ReadAccess]]:
        """Return the measured accesses, each once, with reads cut to a part of the corner."""
        different = {id(measured.access): measured for measured in self.reads.values()}  # a slice has no hash
        return [(m, dataclasses.replace(m.access, reads=within(m.access.reads, part))) for m in different.values()]


def questions(
    backend: Format, manifest: Manifest, mix: Mix, sample_bytes: int, seed: int
) -> tuple[list[TuneQuestion], list[str]]:
    """Return the question for each role that a format can tune and a trace has.

    Parameters
    ----------
    backend : Format
        The format.
    manifest : Manifest
        Manifest of the trace.
    mix : Mix
        The use.
    sample_bytes : int
        Most bytes of a sample, unless one of the longest chunks takes more.
    seed : int
        Determines windows and heads.

    Returns
    -------
    questions : list of TuneQuestion
        In the order of the search space.
    notes : list of str
        Assumptions, one sentence each.

    Raises
    ------
    UsageError
        If the format has nothing to tune, or the trace has no tensor that can be tuned or that the mix reads.
    """
    space = search_space(backend)
    if not space:
        raise UsageError(f"The format {backend.name!r} has nothing to tune.")
    roles = {role: [s for s in manifest.tensors if s.role is role and s.items and s.shape] for role in space}
    if not any(roles.values()):
        wanted = ", ".join(role.value for role in space)
        raise UsageError(f"The trace has no tensor of a role that {backend.name} can be tuned for ({wanted}).")
    use = Use.of(mix)
    asked = {access: share for access, share in use.shares.items() if share}
    kept = {access: share for access, share in asked.items() if _plan(access, manifest, seed)}
    if not kept:
        raise UsageError("The trace has none of the tensors that the mix reads: choose another --mix.")
    notes = []
    if gone := [access for access in asked if access not in kept]:
        notes.append(f"The trace has no tensor for {', '.join(gone)}: left out, the other shares scaled up.")
    if use.readers > 1:
        notes.append(f"One reader at a time is measured, not the {use.readers} of the mix.")
    use = use._replace(shares={access: share / sum(kept.values()) for access, share in kept.items()})
    found = [_question(backend, manifest, specs, use, sample_bytes, seed) for specs in roles.values() if specs]
    return found, notes


def _plan(access: str, manifest: Manifest, seed: int, path: str = "") -> ReadAccess | None:
    """Return the plan of an access of a mix; None if the trace has no tensor that it reads."""
    suite, info = mix_reads()[access]
    planned = load_suite(suite).plan(manifest, schedule.generator(seed, "tune", suite, path), OPTIONS)
    return next((a for a in planned if a.name == info.name and isinstance(a, ReadAccess)), None)


def _question(
    backend: Format, manifest: Manifest, specs: Sequence[TensorSpec], use: Use, sample_bytes: int, seed: int
) -> TuneQuestion:
    spec, role = specs[0], specs[0].role
    part = corner_of(spec, sample_bytes, _longest_chunks(backend, spec))
    # Windows are in the half of the corner that every candidate has: none is cut to less than half.
    half = part if part == spec else cut(spec, part.shape[cut_axes(spec)[0]] // 2)
    sizes = {one.path: one.nbytes for one in specs}
    reads: dict[str, MeasuredUse] = {}
    for access in use.shares:
        everything = _plan(access, Manifest(tensors=tuple(specs), provenance=manifest.provenance), seed)
        if everything is None:
            continue  # it reads tensors of other roles
        suite, info = mix_reads()[access]
        windows = info.per_sample(OPTIONS)
        sampled = Manifest(tensors=(half if windows > 1 else part,), provenance=manifest.provenance)
        planned = _plan(access, sampled, seed, spec.path)
        if planned is None:
            raise UsageError(f"The trace gives nothing to read for {access} of the mix: {spec.path} is too small.")
        whole = sum(sizes[path] for path in {read.path for read in everything.reads}) / part.nbytes
        same = next((m for m in reads.values() if m.access.reads == planned.reads), None)
        reads[access] = MeasuredUse(
            suite=same.suite if same else suite,
            access=same.access if same else planned,
            factor=1 / windows if windows > 1 else whole,
            grows=windows == 1,
            repeats=_REPEATS if requested_bytes(sampled, planned.reads) < _SHORT else 1,
        )
    factor = sum(sizes.values()) / part.nbytes
    shares = {access: share for access, share in use.shares.items() if access in reads}
    return TuneQuestion(role=role, spec=spec, part=part, use=use._replace(shares=shares), reads=reads, factor=factor)


def _longest_chunks(backend: Format, spec: TensorSpec) -> Iterator[int]:
    """Yield the extents of chunks along the cut axes, for all values of all parameters."""
    for parameter in search_space(backend)[spec.role]:
        for value in parameter.values:
            chunks = backend.layout(spec, settings_of(backend, spec, "", [(parameter.name, value)])).chunks
            yield from (chunks[axis] for axis in cut_axes(spec) if chunks)
