"""Measurement that estimates the entropy of each trace of a run whose sizes are measured."""

from __future__ import annotations

from pathlib import Path

from harness.extensions.entropy import document
from harness.extensions.entropy.document import TraceEntropy
from harness.extensions.entropy.model import entropy_bytes
from harness.formats.archive_trace import ArchiveTrace
from harness.run.config import RunConfig
from harness.run.measurement import Measurement, Measuring, RunSession
from harness.run.preparation import Prepared
from harness.run.subject import Subject
from harness.workload import Access, SizeAccess


def _applies(access: Access) -> bool:
    return isinstance(access, SizeAccess) and access.tensors is None


class _Estimates(Measuring):
    """The estimates of one run, from the raw archive of each trace."""

    def begin(self, session: RunSession) -> None:
        """Read the estimates from before an interruption of the run."""
        self._folder: Path = session.folder
        self._step = session.step
        self._found = document.read(session.folder)

    def steps(self, subject: Subject | None) -> int:
        """Return the number of steps: one for a trace whose size is measured."""
        return sum(_applies(access) for _, access in subject.plans) if subject else 0

    def complete(self, subject: Subject) -> bool:
        """Return whether the trace has its estimate, or needs none."""
        return not self.steps(subject) or any(self._is_of(found, subject) for found in self._found)

    def after(self, subject: Subject, prepared: Prepared, suite: str, access: Access) -> None:
        """Estimate the entropy of the complete trace, once."""
        if not _applies(access):
            return
        self._step("entropy")
        if any(self._is_of(found, subject) for found in self._found):
            return
        trace = ArchiveTrace(prepared.raw)
        found, counted = entropy_bytes(trace)
        row = TraceEntropy(
            trace=subject.label, n_res=subject.n_res, float32_bytes=4 * sum(s.items for s in trace.manifest.tensors),
            entropy_bytes=found, counted=counted,
        )  # fmt: skip
        self._found.append(row)
        document.write(self._folder, self._found)

    @staticmethod
    def _is_of(found: TraceEntropy, subject: Subject) -> bool:
        return (found["trace"], found["n_res"]) == (subject.label, subject.n_res)


class EntropyMeasurement(Measurement):
    """Entropy of each trace, measured in every run that measures sizes."""

    name = "entropy"

    def open(self, config: RunConfig) -> Measuring | None:
        """Open the measurement; it reads the raw archive of each trace on a local disk."""
        return _Estimates()


measurement = EntropyMeasurement()
