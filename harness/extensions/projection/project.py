"""Projection, not measurement, of the cost, time and requests of many traces on a store, for each format."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from harness.analysis.accesses import archive_sizes
from harness.analysis.choice.mix import Mix
from harness.errors import UsageError
from harness.extensions.projection.demand import Demand, demand
from harness.extensions.projection.model import Model, cells_of, fit_all
from harness.extensions.projection.section import FILE, VERSION
from harness.files import write_text
from harness.formats.base import load_format
from harness.formats.describing import ReadsWhole
from harness.row_files import read_samples
from harness.run.config import RunConfig
from harness.run.machine import nodes_of, read_environment
from harness.run.planning import choose_arms, open_subjects
from harness.run.subject import Subject
from harness.suite import mix_reads
from harness.trace.sources import find_source
from harness.workload import ReadAccess

_ZIP_DIRECTORY = 2.0  # requests: the end of the file, which states the position of the directory, and the directory


@dataclass(frozen=True, kw_only=True)
class Store:
    """Latency, bandwidth and prices of a store for traces."""

    name: str  # Its name.
    latency: float  # Seconds until the first byte of a request.
    bandwidth: float  # Bytes per second for each reader.
    in_flight: int = 1  # Simultaneous requests of one access.
    # Prices in USD; a gigabyte is 10**9 bytes.
    gigabyte_month: float
    thousand_gets: float
    thousand_puts: float
    gigabyte_out: float
    prices_from: str  # Source of the prices.


STORES = {
    "s3": Store(
        name="s3", latency=0.020, bandwidth=125e6, gigabyte_month=0.023, thousand_gets=0.0004, thousand_puts=0.005,
        gigabyte_out=0.0,
        prices_from="S3 Standard in us-east-1, first 50 TB, read from the same region: https://aws.amazon.com/s3/pricing/",
    ),
    "local": Store(
        name="local", latency=0.0, bandwidth=float("inf"), gigabyte_month=0.0, thousand_gets=0.0, thousand_puts=0.0,
        gigabyte_out=0.0, prices_from="a disk that costs nothing, with all of it in the page cache as in the run",
    ),
}  # fmt: skip
"""Stores by name; options override their prices."""


@dataclass(frozen=True, kw_only=True)
class ProjectionQuestion:
    """Parameters of a projection."""

    # Number of traces, their length in residues, and number of simultaneous readers, each on a separate machine.
    traces: int
    n_res: int
    readers: int
    accesses: int  # Accesses to each trace; each opens the archive, and nothing of it is in memory.
    mix: Mix  # Only its shares of accesses count.
    store: Store  # Store of the traces.

    @property
    def asked(self) -> str:
        """The use in words."""
        return f"on {self.store.name}, each read {self.accesses:,} times, by {self.readers} readers at once"


@dataclass(frozen=True, kw_only=True)
class Projection:
    """Result of a projection: a table with a row for each format and profile, times in seconds and prices in USD."""

    question: ProjectionQuestion
    trace: str
    table: pd.DataFrame
    notes: tuple[str, ...]


def project(folder: Path, trace: str | None, question: ProjectionQuestion) -> Projection:
    """Project a use onto a store, from the cost models of a run.

    Parameters
    ----------
    folder : Path
        The run's folder.
    trace : str or None
        One of the run's traces; None for the only one that can be made in any length.
    question : ProjectionQuestion
        Parameters of the projection.

    Returns
    -------
    Projection
        With the fewest seconds per access first.

    Raises
    ------
    UsageError
        If the run lacks required lengths, cells, sizes or accesses, or several nodes measured its lengths.
    """
    config = RunConfig.read(folder / "run.json")
    _require_one_machine(folder)
    text = trace or _only_trace(config)
    if text not in config.traces:
        raise UsageError(f"The run has no trace {text!r}; it has {', '.join(config.traces)}.")
    models = fit_all(cells_of(folder, text))
    # At this length only plans are made, no tensors.
    (subject,) = open_subjects(dataclasses.replace(config, traces=(text,), sizes=(question.n_res,)))
    planned = {name: _planned(subject, question.mix, name) for name, share in question.mix.shares.items() if share}
    sizes = archive_sizes(read_samples(folder / "samples.csv"))
    arms = {(arm.label, arm.profile): arm for arm in choose_arms(config)}
    counts = {name: mix_reads()[name][1].per_sample(config.options) for name in planned}
    rows = []
    for model in models:
        arm = arms[model.format, model.profile]
        backend = load_format(arm.backend)
        wanted = {n: demand(backend, arm.settings, subject.manifest, access.reads) for n, access in planned.items()}
        # If members are read from their start, a reader requests the directory of the file and then the member.
        opening = _ZIP_DIRECTORY if isinstance(backend, ReadsWhole) else _opening(model)
        size, files = _archive(sizes, model, subject)
        rows.append(_row(model, wanted, counts, question, size, files, opening))
    table = pd.DataFrame(rows).sort_values("seconds_per_access", kind="stable", ignore_index=True)
    return Projection(question=question, trace=subject.label, table=table, notes=_notes(question, models))


def _require_one_machine(folder: Path) -> None:
    """Raise `UsageError` if different nodes measured the lengths, because a cost model would compare the nodes."""
    path = folder / "environment.json"
    if path.exists() and (nodes := len(nodes_of(read_environment(path)))) > 1:
        raise UsageError(
            f"The lengths of {folder} were measured on {nodes} nodes, whose times are not compared: project a run of "
            "one machine."
        )


def _only_trace(config: RunConfig) -> str:
    names = [text for text in config.traces if find_source(text)[0].sized]
    if len(names) != 1:
        which = (
            f"name one with --trace: {', '.join(names)}" if names else "measure a synthetic trace at several --sizes"
        )
        raise UsageError(f"The run has {len(names)} traces that are made in any length: {which}.")
    return names[0]


def _planned(subject: Subject, mix: Mix, name: str) -> ReadAccess:
    of, info = mix_reads()[name]
    for suite, access in subject.plans:
        if (suite, access.name) == (of, info.name) and isinstance(access, ReadAccess):
            return access
    raise UsageError(
        f"The mix {mix.name!r} has {name}, which the run did not measure: run the suite {of} too, "
        "or choose another --mix."
    )


def _archive(sizes: pd.DataFrame, model: Model, subject: Subject) -> tuple[float, float]:
    """Return bytes and files of an archive at the projected length: measured, or scaled from the longest measured."""
    mine = (sizes["format"] == model.format) & (sizes["profile"] == model.profile) & (sizes["trace"] == subject.label)
    rows = sizes[mine].sort_values("n_res")
    if rows.empty:
        raise UsageError("The run has no sizes of archives: run the suite size too.")
    exact = rows[rows["n_res"] == subject.n_res]
    row = (rows if exact.empty else exact).iloc[-1]
    growth = subject.manifest.nbytes / float(row["bytes_requested"])
    size, files = float(row["size_bytes"]) * growth, float(row["files"])
    if exact.empty and rows["files"].nunique() > 1:  # one file per chunk: the number of files grows like the bytes
        files *= growth
    return size, files


def _opening(model: Model) -> float:
    """Return the read calls that do not read chunks, from the cell with the fewest chunks; at least 1."""
    fewest = min(model.cells, key=lambda cell: (cell.demand.chunks, cell.requests))
    return max(1.0, fewest.requests - fewest.demand.chunks)


def _row(
    model: Model,
    wanted: Mapping[str, Demand],
    counts: Mapping[str, int],
    question: ProjectionQuestion,
    size: float,
    files: float,
    opening: float,
) -> dict[str, Any]:
    store, shares = question.store, question.mix.shares
    seconds = requests = moved = 0.0
    for name, needs in wanted.items():
        suite, info = mix_reads()[name]
        same = [cell for cell in model.cells if (cell.key.suite, cell.key.access) == (suite, info.name)]
        if not same:
            told = f"The run has no warm {suite}/{info.name} that did not fail"
            raise UsageError(f"{told}: measure it, or choose another --mix.")
        like, count = max(same, key=lambda cell: cell.n_res), counts[name]
        pieces = needs.chunks * min(1.0, max(1.0, like.requests - opening) / like.demand.chunks)
        read = sum(needs.decoded) * like.bytes_read / sum(like.demand.decoded)
        # One access of a mix is one window: the values of a sample, except for the opening, are divided by the windows.
        computed = model.seconds[0] + (model.predict(needs) - model.seconds[0]) / count
        waits = (opening + pieces / count / store.in_flight) * store.latency
        seconds += shares[name] * (computed + waits + read / count / store.bandwidth)
        requests += shares[name] * (opening + pieces / count)
        moved += shares[name] * read / count
    total = question.traces * question.accesses
    kept, gigabytes_read = question.traces * size / 1e9, total * moved / 1e9
    return {
        "format": model.format,
        "profile": model.profile,
        "gigabytes": kept,
        "storage_per_month": kept * store.gigabyte_month,
        "upload_requests": question.traces * files,
        "upload": question.traces * files / 1000 * store.thousand_puts,
        "requests_per_access": requests,
        "requests": total * requests,
        "reading": total * requests / 1000 * store.thousand_gets + gigabytes_read * store.gigabyte_out,
        "gigabytes_read": gigabytes_read,
        "seconds_per_access": seconds,
        "seconds": total * seconds / question.readers,
        "error_by_length": model.by_length,
        "error_by_access": model.by_access,
    }


def _notes(question: ProjectionQuestion, models: Sequence[Model]) -> tuple[str, ...]:
    store = question.store
    lengths = sorted({cell.n_res for model in models for cell in model.cells})
    outside = f"{question.n_res} residues lie outside the measured lengths: this is an extrapolation."
    rate = "without limit" if store.bandwidth == float("inf") else f"at {store.bandwidth * 8 / 1e9:g} Gbit/s"
    return (
        "Projection, not a measurement: no request was made to any store.",
        f"Computing is what the cost models of the run say, fitted at {', '.join(map(str, lengths))} residues with a "
        "warm page cache; held-out errors are medians over cells that were predicted without any of their length, and "
        "without any of their access.",
        *([] if lengths[0] <= question.n_res <= lengths[-1] else [outside]),
        f"Added to that, {store.latency * 1e3:g} ms for each request, {store.in_flight} at a time, and the bytes that "
        f"were read, {rate} for each of the readers, which do not slow each other down.",
        "A request is a read call of the run, or a stored piece where there are fewer of those.",
        f"Each access opens the archive and finds nothing in memory; their shares are those of {question.mix.name}.",
        f"Prices: {store.gigabyte_month:g} USD a GB and month, {store.thousand_puts:g} USD for 1000 uploads, "
        f"{store.thousand_gets:g} USD for 1000 requests, {store.gigabyte_out:g} USD a GB read ({store.prices_from}).",
    )


def document_of(projection: Projection) -> dict[str, Any]:
    """Return the JSON document of a projection: the question in words, notes, and a row for each format."""
    question = projection.question
    return {
        "projection_version": VERSION,
        "asked": f"{question.traces:,} traces of {question.n_res} residues ({projection.trace}) {question.asked}",
        "notes": list(projection.notes),
        "rows": json.loads(projection.table.to_json(orient="records")),
    }


def save(projection: Projection, folder: Path) -> Path:
    """Write a projection to the run's folder, from which the report shows it; return its path."""
    write_text(folder / FILE, json.dumps(document_of(projection), indent=1) + "\n")
    return folder / FILE
