"""Reads from an object store against its latency: a real S3 server behind a shaper, formats side by side in rounds.

``python -m benchmarks.object_store OUT`` writes every sample to ``OUT/samples.csv``, the curves to
``OUT/latency.png`` and ``.svg``, and prints the project's goals at 20 ms.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.latency import draw_latency
from benchmarks.seaweed import seaweed
from benchmarks.slim_targets import FoundSizes
from benchmarks.store_arms import ARMS, OWN, TENSORSTORE, StoreArm
from harness.analysis.formatting import duration
from harness.analysis.statistics import compare
from harness.analysis.verdict import judge, noise_floor
from harness.errors import HarnessError
from harness.extensions.object_store.attempts import StoreCounter
from harness.extensions.object_store.client import Client
from harness.extensions.object_store.place import S3Place, parse_place
from harness.extensions.object_store.remotes import remote_of
from harness.extensions.object_store.shaper import shaped
from harness.extensions.object_store.stored import S3Archive
from harness.extensions.object_store.uploads import upload, upload_beside
from harness.formats.archive import write_archive
from harness.formats.base import load_format
from harness.records import RAW
from harness.sampling.sample import take
from harness.sampling.verify import Expected, expectations
from harness.trace.schema import Role
from harness.trace.sources import open_trace
from harness.windows import window_reads
from harness.workload import Read

WINDOWS, EDGE = 50, 32
GOAL_LATENCY = 20
GET = "one GET"
"""One request for as many bytes as this project's decoder reads of zarr-slim: the least possible wait for them."""

_COLUMNS = [
    "trace", "latency_ms", "bandwidth", "access", "format", "profile", "round", "seconds", "open_seconds", "requests",
    "bytes_read", "retries",
]  # fmt: skip


@dataclass(frozen=True)
class Archives:
    """One trace in a store in every format, and the accesses to measure."""

    label: str
    paths: dict[StoreArm, Path]
    accesses: dict[str, tuple[Read, ...]]
    expected: dict[str, Expected]


def prepare(text: str, n_res: int | None, folder: Path, place: S3Place) -> Archives:
    """Write and upload the archives of a trace, and plan its accesses.

    Parameters
    ----------
    text, n_res
        The trace, as `harness.trace.sources.open_trace` takes it.
    folder : Path
        Folder for archives; its name is part of their keys.
    place : S3Place
        The store.
    """
    trace = open_trace(text, n_res)
    folder.mkdir()
    paths: dict[StoreArm, Path] = {}
    manifest = trace.manifest
    for arm in ARMS:
        backend = load_format(arm.format)
        path = folder / f"{arm.format}-{arm.profile}{backend.suffix}"
        if not path.exists():
            written = write_archive(trace, backend, path, arm.profile)
            manifest = written if arm.format == RAW else manifest
            upload(place, path, f"{folder.name}/{path.name}", remote_of(backend).documents(path))
        if arm.route != TENSORSTORE:
            key = f"{folder.name}/{path.name}"
            upload_beside(arm.format, path, S3Archive(place=place, key=key, route=arm.route))
        paths[arm] = path
    pairs = [spec.path for spec in manifest.with_role(Role.PAIR)]
    rng = np.random.default_rng(0)
    accesses = {
        f"{WINDOWS} windows": window_reads([manifest[path] for path in pairs], WINDOWS, EDGE, rng),
        "one pair layer": (Read(path=pairs[-1]),),
    }
    reads = [read for plan in accesses.values() for read in plan]
    return Archives(trace.label, paths, accesses, expectations(paths[ARMS[0]], manifest, reads))


def measure(archives: Archives, place: S3Place, near: S3Place, rounds: int, seed: int) -> Iterator[dict[str, object]]:
    """Yield one row per sample: in each round every arm once in random order, after one discarded round."""
    order = random.Random(seed)
    for access, reads in archives.accesses.items():
        moved = 0
        for number in range(-1, rounds):
            for arm in order.sample(ARMS, len(ARMS)):
                path = archives.paths[arm]
                opener, counter = arm.opener(near, f"{path.parent.name}/{path.name}")
                # NPZ reads a complete member for each window: at its best it loads each tensor once.
                once = arm.format == "npz"
                found = take(opener, path, reads, archives.expected, load_once=once, counter=counter)
                if found.problem:
                    raise HarnessError(f"{arm.label} {access}: {found.problem}.")
                moved = found.bytes_read or 0 if arm.label == OWN else moved
                row = {"format": arm.label, "profile": arm.column, **dataclasses.asdict(found)}
                if number >= 0:
                    yield _row(archives, place, access, number, row)
            if number >= 0:
                path = archives.paths[ARMS[0]]
                row = {"format": GET, "profile": "", **_one_get(near, f"{path.parent.name}/{path.name}", moved)}
                yield _row(archives, place, access, number, row)


def _row(archives: Archives, place: S3Place, access: str, number: int, found: dict[str, object]) -> dict[str, object]:
    about = {"trace": archives.label, "latency_ms": place.latency_ms, "bandwidth": place.bandwidth, "access": access}
    return {name: ({**found, **about, "round": number})[name] for name in _COLUMNS}


def _one_get(near: S3Place, key: str, length: int) -> dict[str, object]:
    """Time one request for `length` bytes on an open connection."""
    folder, _, name = key.rpartition("/")
    with closing(Client(near, folder)) as client:
        start = time.perf_counter_ns()
        size = client.size(name)
        opened = time.perf_counter_ns()
        counter = StoreCounter()
        client.range(name, 0, min(length, size))
        seconds = (time.perf_counter_ns() - opened) / 1e9
        counts = counter.counts()
    return {"seconds": seconds, "open_seconds": (opened - start) / 1e9, **dataclasses.asdict(counts)}


def read(folder: Path) -> pd.DataFrame:
    """Read the samples of a folder; uncounted figures are NaN, and empty names are empty texts."""
    counted = ("requests", "bytes_read", "retries")
    return pd.read_csv(folder / "samples.csv", keep_default_na=False, na_values={name: [""] for name in counted})


def draw(samples: pd.DataFrame, folder: Path) -> None:
    """Draw the arms that have a line, and name the others in the caption; see `benchmarks.latency.draw_latency`."""
    aside = {(arm.label, arm.profile): f"{arm.label} ({arm.profile})" for arm in ARMS if not arm.drawn}
    keys = list(zip(samples["format"], samples["profile"], strict=True))
    others = [text for key, text in aside.items() if key in keys]
    draw_latency(samples[[key not in aside for key in keys]], folder, others)


def table(samples: pd.DataFrame) -> list[str]:
    """Return a Markdown table of one trace: by arm and access, the median time from a closed archive at each latency.

    In each column, the fastest maintained reader is in bold, with those that `harness.analysis.verdict.judge` does not
    call slower over all columns. Arms that this project's code reads or decodes are never in bold.
    """
    samples = samples.assign(total=samples["seconds"] + samples["open_seconds"])
    columns = [(access, latency) for access in samples["access"].unique() for latency in samples["latency_ms"].unique()]
    times: dict[tuple[StoreArm, str, float], np.ndarray] = {}
    for arm in ARMS:
        of = samples[(samples["format"] == arm.label) & (samples["profile"] == arm.column)].sort_values("round")
        for access, latency in columns if len(of) else ():
            cell = of[(of["access"] == access) & (of["latency_ms"] == latency)]
            times[arm, access, latency] = cell["total"].to_numpy(float)
    bold = _not_slower({key: found for key, found in times.items() if not key[0].own})
    heads = [f"{access}, {latency:g} ms" for access, latency in columns]
    rows = [f"| format | settings | reader | {' | '.join(heads)} |", "|---|---|---|" + "---:|" * len(columns)]
    for arm in dict.fromkeys(arm for arm, *_ in times):
        told = []
        for column in columns:
            text = duration(float(np.median(times[arm, *column])))
            told.append(f"**{text}**" if (arm, *column) in bold else text)
        rows.append(f"| {arm.format} | {arm.column or '-'} | {arm.reader} | {' | '.join(told)} |")
    return rows


def _not_slower(times: Mapping[tuple[StoreArm, str, float], np.ndarray]) -> set[tuple[StoreArm, str, float]]:
    """Return the fastest arm of each access and latency, and those that are not judged to be slower."""
    fastest: dict[tuple[str, float], tuple[StoreArm, str, float]] = {}
    for key, found in times.items():
        known = fastest.setdefault(key[1:], key)
        if np.median(found) < np.median(times[known]):
            fastest[key[1:]] = key
    others = [key for key in times if key not in fastest.values()]
    compared = [compare(times[key], times[fastest[key[1:]]]) for key in others]
    words = judge(compared, [noise_floor(None)] * len(compared))
    return {*fastest.values(), *(key for key, word in zip(others, words, strict=True) if word != "slower")}


def goals(samples: pd.DataFrame) -> Iterator[FoundSizes]:
    """Yield the goals at 20 ms, each as the median of the rounds' ratios; neither side includes opening."""
    far = samples[samples["latency_ms"] == GOAL_LATENCY]
    for trace, rows in far.groupby("trace", sort=False):
        windows = _times(rows, f"{WINDOWS} windows")
        layer = _times(rows, "one pair layer")
        yield FoundSizes(
            text=f"{trace}: {WINDOWS} windows, times as fast as the seed's zarr", goal=2.0,
            value=float((windows["zarr", "seed"] / windows[OWN, "tuned"]).median()),
        )  # fmt: skip
        for other, what in ((RAW, "one GET of its float32 bytes"), (GET, "one GET as large")):
            ratio = float((layer[OWN, "tuned"] / layer[other, ""]).median())
            text = f"{trace}: a layer of zarr-slim by its own decoder over {what}"
            yield FoundSizes(text=text, goal=1.5, value=ratio, at_most=True)


def _times(rows: pd.DataFrame, access: str) -> pd.DataFrame:
    chosen = rows[rows["access"] == access].fillna({"profile": ""})
    return chosen.pivot_table(index="round", columns=["format", "profile"], values="seconds")


def main(argv: list[str] | None = None) -> int:
    """Measure, draw, and print the goals; return 1 if one is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.object_store", description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--trace", action="append", help="NAME[@N]; repeatable (default: synthetic:layers=2@256)")
    parser.add_argument("--latencies", default="0,5,20,80", help="milliseconds")
    parser.add_argument("--bandwidth", type=float, default=100, help="megabytes per second; 0 for no limit")
    options = parser.parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    with (
        seaweed() as server,
        tempfile.TemporaryDirectory(prefix=".store-", dir=options.out) as scratch,
        (options.out / "samples.csv").open("w", newline="") as file,
    ):
        os.environ.update(server.variables())
        base = dataclasses.replace(parse_place(f"s3://{server.bucket}/tracking"), bandwidth=options.bandwidth * 1e6)
        writer = csv.DictWriter(file, _COLUMNS)
        writer.writeheader()
        for number, text in enumerate(options.trace or ["synthetic:layers=2@256"]):
            name, _, length = text.partition("@")
            archives = prepare(name, int(length) if length else None, Path(scratch) / f"trace-{number}", base)
            for latency in map(float, options.latencies.split(",")):
                place = dataclasses.replace(base, latency_ms=latency)
                with shaped(place) as near:
                    writer.writerows(measure(archives, place, near, options.rounds, number))
                file.flush()
                print(f"{archives.label}: {place.describe()}", flush=True)
    samples = read(options.out)
    draw(samples, options.out)
    for _, rows in samples.groupby("trace", sort=False):
        print("\n".join(table(rows)))
    found = list(goals(samples))
    for goal in found:
        print(goal)
    return int(not all(goal.met for goal in found))


if __name__ == "__main__":
    sys.exit(main())
