"""Estimate the size of a trace's archives from its first layer, for disks too small for the upper bound."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from harness.formats.archive import remove
from harness.run.preparation import Prepared, source_task, write
from harness.run.subject import Arm, Subject
from harness.sampling.interrupt import deferred
from harness.sampling.worker import Worker, WorkerError
from harness.sampling.writing import WriteTask
from harness.trace.schema import TensorSpec

MARGIN = 1.1
"""Factor on the estimated size of layers, because later layers may compress less than the first."""


def sampled(subject: Subject) -> list[TensorSpec]:
    """List the tensors to write for an estimate: of each kind of layer tensor, the first of the largest.

    If all layers have the same size, these are of the first layer. A kind is a path without its layer number, and a
    dtype.
    """
    return [max(alike, key=lambda spec: spec.nbytes) for alike in _kinds(subject)]


def _kinds(subject: Subject) -> list[list[TensorSpec]]:
    found: dict[tuple[str, str], list[TensorSpec]] = {}
    for spec in subject.manifest.tensors:
        if spec.layer is not None and spec.nbytes:
            found.setdefault((re.sub(r"\blayer_\d+", "layer_N", spec.path), spec.dtype), []).append(spec)
    return list(found.values())


def estimate(subject: Subject, arms: Sequence[Arm], scratch: Path, timeout: float) -> int:
    """Estimate the total size of a trace's archives by writing a sample of the trace in each format.

    Each kind of tensor gets a separate archive, because kinds may compress differently. Tensors without a layer, and
    tensors that cannot be written, count uncompressed.

    Parameters
    ----------
    subject : Subject
        The trace.
    arms : sequence of Arm
        Arms whose archives count; those that share another arm's archive have none.
    scratch : Path
        Folder for the sample; its parent must exist. Removed at the end, and at the start if it exists.
    timeout : float
        Seconds after which a format that writes the sample counts as hung.

    Returns
    -------
    int
        Bytes, including `MARGIN`.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C, once the sample is removed.
    """
    own = [arm for arm in arms if not arm.shares]
    kinds, samples = _kinds(subject), sampled(subject)
    total = float(len(own) * (subject.manifest.nbytes - sum(spec.nbytes for alike in kinds for spec in alike)))
    remove(scratch)  # left behind by a killed run
    with deferred(), ExitStack() as stack:
        stack.callback(remove, scratch)
        scratch.mkdir()
        worker = stack.enter_context(Worker(timeout))
        prepared = Prepared(scratch / "trace.raw", subject.manifest)  # the sample, uncompressed
        tensors = tuple((spec.path, spec.path) for spec in samples)
        readable = bool(samples) and _size(source_task(subject, prepared.raw, tensors), worker) is not None
        for arm in own:
            for alike, spec in zip(kinds, samples, strict=True):
                size = None
                if readable and not arm.contender.is_ceiling:
                    size = _size(prepared.write_task(arm, ((spec.path, spec.path),), scratch), worker)
                margin = 1.0 if arm.contender.is_ceiling else MARGIN
                total += margin * (1.0 if size is None else size / spec.nbytes) * sum(each.nbytes for each in alike)
    return round(total)


def _size(task: WriteTask, worker: Worker) -> int | None:
    try:
        return write(task, worker.do).size_bytes
    except WorkerError:
        return None
