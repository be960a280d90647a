"""What is asked of the candidates of one role: a sample of its tensors, the accesses of the mix, and their weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from harness.analysis.choice.costs import Use
from harness.analysis.choice.mix import Mix
from harness.errors import UsageError
from harness.extensions.tune.candidates import settings_of
from harness.extensions.tune.corner import corner_of, cut, cut_axes, in_whole_chunks, within
from harness.formats.base import Format, Layout
from harness.formats.settings import search_space
from harness.run import schedule
from harness.suite import load_suite, mix_reads
from harness.trace.manifest import Manifest, Provenance
from harness.trace.schema import Role, TensorSpec
from harness.workload import Absent, PlanOptions, ReadAccess, requested_bytes

OPTIONS = PlanOptions(attention_windows=16, pair_windows=8)
"""How many windows one sample reads."""

WINDOWS = {"window_attention": OPTIONS.attention_windows, "window_pair": OPTIONS.pair_windows}
"""The accesses of a mix that are one of several reads in a sample."""

_REPEATS, _SHORT = 3, 16 << 20  # samples in each round of an access that asks for fewer bytes than that

ROLES = {
    "attention_layer": (Role.ATTENTION,),
    "head": (Role.ATTENTION,),
    "window_attention": (Role.ATTENTION,),
    "pair_layer": (Role.PAIR,),
    "window_pair": (Role.PAIR,),
}
"""The roles that each access of a mix reads; one that is not named reads all."""


@dataclass(frozen=True, kw_only=True)
class MeasuredUse:
    """One access of a mix on the sample.

    Attributes
    ----------
    suite : str
        The suite that plans it.
    access : ReadAccess
        What one sample of it reads.
    factor : float
        What its seconds are multiplied with to stand for the access on the whole trace.
    grows : bool
        Whether it takes longer on a larger corner; windows do not.
    repeats : int
        Samples in each round, in which the sample is written only once: reads that are short are disturbed most.
    """

    suite: str
    access: ReadAccess
    factor: float
    grows: bool
    repeats: int


@dataclass(frozen=True, kw_only=True)
class TuneQuestion:
    """What is asked for one role.

    Attributes
    ----------
    role : Role
        Which.
    spec : TensorSpec
        The tensor that is sampled, as it is in the trace.
    part : TensorSpec
        The corner of it that is sampled.
    use : Use
        The mix, with the shares of accesses to this role alone.
    reads : dict of str to MeasuredUse
        By access of the mix; accesses that read the same are measured once.
    factor : float
        Bytes of all tensors of the role, divided by those of the corner.
    """

    role: Role
    spec: TensorSpec
    part: TensorSpec
    use: Use
    reads: dict[str, MeasuredUse]
    factor: float

    @property
    def shown_sample(self) -> str:
        """What was sampled, for people."""
        axis = cut_axes(self.spec)[0]
        taken, there = self.part.shape[axis], self.spec.shape[axis]
        share = f"all {there}" if taken == there else f"the first {taken} of {there}"
        name = {"residue": "residues"}.get(self.spec.axes[axis], "rows")
        return f"{share} {name} of {self.spec.path}"

    def part_for(self, layout: Layout) -> TensorSpec:
        """Return what is written and read of the corner in a layout: as much of it as ends with a chunk."""
        return in_whole_chunks(self.spec, self.part, layout)

    def scale(self, layout: Layout) -> float:
        """Return how many times as large as that the corner is."""
        return self.part.nbytes / self.part_for(layout).nbytes

    def accesses(self, part: TensorSpec) -> list[tuple[MeasuredUse, ReadAccess]]:
        """Return what is measured, each once, with its reads cut to a part of the corner."""
        different = {id(measured.access): measured for measured in self.reads.values()}  # a slice has no hash
        return [(m, dataclasses.replace(m.access, reads=within(m.access.reads, part))) for m in different.values()]


def questions(
    backend: Format, manifest: Manifest, mix: Mix, sample_bytes: int, seed: int
) -> tuple[list[TuneQuestion], list[str]]:
    """Work out what to ask for each role that a format can tune and a trace has.

    Parameters
    ----------
    backend : Format
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
    questions : list of TuneQuestion
        In the order of the search space.
    notes : list of str
        What had to be assumed, one sentence each.

    Raises
    ------
    UsageError
        When the format has nothing to tune, or the trace has nothing of what could be tuned or of what the mix reads.
    """
    space = search_space(backend)
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
    backend: Format, specs: list[TensorSpec], use: Use, sample_bytes: int, seed: int, provenance: Provenance
) -> TuneQuestion:
    spec, role = specs[0], specs[0].role
    part = corner_of(spec, sample_bytes, _longest_chunks(backend, spec))
    factor = sum(s.nbytes for s in specs) / part.nbytes
    shares = {access: share for access, share in use.shares.items() if role in ROLES.get(access, (role,))}
    # Windows lie where every candidate has something: none is cut to less than half of the corner.
    half = part if part == spec else cut(spec, part.shape[cut_axes(spec)[0]] // 2)
    reads: dict[str, MeasuredUse] = {}
    for access in shares:
        suite_name, info = mix_reads()[access]
        suite = load_suite(suite_name)
        rng = schedule.generator(seed, "tune", suite_name, spec.path)
        window = access in WINDOWS
        manifest = Manifest(tensors=(half if window else part,), provenance=provenance)
        planned = next(a for a in suite.plan(manifest, rng, OPTIONS) if a.name == info.name)
        if isinstance(planned, Absent) or not isinstance(planned, ReadAccess):
            raise UsageError(f"The trace gives nothing to read for {access} of the mix: {spec.path} is too small.")
        scale = 1 / WINDOWS[access] if window else factor if access == "full_read" else spec.nbytes / part.nbytes
        same = next((m for m in reads.values() if m.access.reads == planned.reads), None)
        reads[access] = MeasuredUse(
            suite=same.suite if same else suite_name,
            access=same.access if same else planned,
            factor=scale,
            grows=not window,
            repeats=_REPEATS if requested_bytes(manifest, planned.reads) < _SHORT else 1,
        )
    return TuneQuestion(role=role, spec=spec, part=part, use=use._replace(shares=shares), reads=reads, factor=factor)


def _longest_chunks(backend: Format, spec: TensorSpec) -> Iterator[int]:
    """Yield the extents of chunks along the axes that are cut, for all values of all parameters."""
    for parameter in search_space(backend)[spec.role]:
        for value in parameter.values:
            chunks = backend.layout(spec, settings_of(backend, spec, "", [(parameter.name, value)])).chunks
            yield from (chunks[axis] for axis in cut_axes(spec) if chunks)
