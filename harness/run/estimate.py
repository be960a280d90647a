"""How large the archives of a trace become, estimated from its first layer, where there is no room for the bound."""

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
"""Later layers may compress less than the first: what layers take is reckoned by a tenth more than it suggests."""


def sampled(subject: Subject) -> list[TensorSpec]:
    """List what is written to estimate a trace: of each kind of tensor that layers have, the first of the largest.

    These are of the first layer, where layers are alike. A kind is a path without the number of its layer, and a dtype.
    """
    return [max(alike, key=lambda spec: spec.nbytes) for alike in _kinds(subject)]


def _kinds(subject: Subject) -> list[list[TensorSpec]]:
    found: dict[tuple[str, str], list[TensorSpec]] = {}
    for spec in subject.manifest.tensors:
        if spec.layer is not None and spec.nbytes:
            found.setdefault((re.sub(r"\blayer_\d+", "layer_N", spec.path), spec.dtype), []).append(spec)
    return list(found.values())


def estimate(subject: Subject, arms: Sequence[Arm], scratch: Path, timeout: float) -> int:
    """Estimate what the archives of a trace take together, by writing a sample of it in each format.

    Each kind of tensor has an archive of its own, so that a trace of which one kind compresses well is not taken to
    compress well. Tensors without a layer are counted as they are, and so is what could not be written.

    Parameters
    ----------
    subject : Subject
        The trace.
    arms : sequence of Arm
        Whose archives to count; those that share another's have none.
    scratch : Path
        A folder for the sample, in one that exists; removed at the end, and before when it is there.
    timeout : float
        Seconds after which a format that writes the sample counts as hung.

    Returns
    -------
    int
        Bytes, with `MARGIN`.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C, when the sample is removed.
    """
    own = [arm for arm in arms if not arm.shares]
    kinds, samples = _kinds(subject), sampled(subject)
    total = float(len(own) * (subject.manifest.nbytes - sum(spec.nbytes for alike in kinds for spec in alike)))
    remove(scratch)  # left by a run that was killed
    with deferred(), ExitStack() as stack:
        stack.callback(remove, scratch)
        scratch.mkdir()
        worker = stack.enter_context(Worker(timeout))
        prepared = Prepared(scratch / "trace.raw", subject.manifest)  # the sample as it is
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
