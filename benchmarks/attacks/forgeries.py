"""Forge the bundle of a small run in many ways, the manifest mended each time, and count what a check does not name."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd

from harness.errors import HarnessError
from harness.evidence.bundle import Bundle, read_bundle, row_digests, write_bundle
from harness.evidence.check import check
from harness.row_files import read_samples
from harness.run.completeness import SAMPLES, read_own_rows, required_rows
from harness.run.config import RunConfig
from harness.run.experiment import run
from harness.run.planned_run import PlannedRun
from harness.workload import PlanOptions

Rows = list[dict[str, str]]

CONFIG = RunConfig(
    run_id="forged",
    preset="quick",
    traces=("synthetic:layers=1,heads=2,hidden_dim=16,pair_dim=8",),
    sizes=(40,),
    formats=("hdf5", "npz"),
    profiles=("tuned",),
    suites=("size", "write", "full_read", "layer_read", "random_access"),
    caches=("warm",),
    rounds=3,
    baseline="hdf5",
    timeout=60,
    options=PlanOptions(attention_windows=4, pair_windows=2, workers=(("threads", 2),)),
)


class _Silent:
    def total(self, steps: int) -> None:
        pass

    def step(self, text: str, steps: int = 1) -> None:
        pass


def measured(folder: Path) -> Path:
    """Make the small run."""
    folder.mkdir()
    CONFIG.save(folder / "run.json")
    run(PlannedRun.of(CONFIG), folder, _Silent())
    if not (folder / "ledger.csv").exists():
        (folder / "ledger.csv").write_text("trace,n_res,format,profile\n")
    return folder


def read_rows(path: Path) -> Rows:
    """Read the rows of a file as text."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def written(rows: Rows, path: Path) -> None:
    """Write rows of text as a file."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    path.write_text(text.getvalue(), newline="")


def changed_rows(rows: Rows) -> Iterator[tuple[str, Rows]]:
    """Yield every change of one row, and some of several, with its kind."""
    for number, row in enumerate(rows):
        yield "rows deleted", rows[:number] + rows[number + 1 :]
        yield "rows doubled", [*rows[: number + 1], *rows[number:]]
        yield "positions changed", _with(rows, number, position=str(int(row["position"]) + 1))
        yield "rounds renumbered", _with(rows, number, round=str(int(row["round"]) + 100))
        for status in ("ok", "failed", "rejected", "skipped"):
            if status != row["status"]:
                yield "statuses changed", _with(rows, number, status=status)
                yield "statuses changed with a reason", _with(rows, number, status=status, reason="because")
    cells: dict[tuple[str, ...], list[int]] = {}
    for number, row in enumerate(rows):
        cells.setdefault(tuple(row[k] for k in ("suite", "access", "format", "profile", "cache")), []).append(number)
    for numbers in cells.values():
        timed = sorted((n for n in numbers if rows[n].get("seconds")), key=lambda n: float(rows[n]["seconds"]))
        slow = set(timed[len(timed) // 2 :])
        if slow and len(timed) > 1:
            yield "slower halves deleted", [row for n, row in enumerate(rows) if n not in slow]
        yield "cells deleted", [row for n, row in enumerate(rows) if n not in numbers]
    for name in sorted({row["access"] for row in rows}):
        yield "accesses deleted", [row for row in rows if row["access"] != name]
    for name in sorted({row["format"] for row in rows}):
        yield "formats deleted", [row for row in rows if row["format"] != name]


def _with(rows: Rows, number: int, **values: str) -> Rows:
    return [*rows[:number], {**rows[number], **values}, *rows[number + 1 :]]


def attack_rows(folder: Path) -> tuple[dict[str, list[int]], list[str]]:
    """Make every change of the rows, and count those that the derivation of rows does not name."""
    counts: dict[str, list[int]] = {}
    missed: list[str] = []
    environment = json.loads((folder / "environment.json").read_text())
    for name in (SAMPLES, *read_own_rows(folder)):
        original = (folder / name).read_bytes()
        rows = read_rows(folder / name)
        for kind, forged in changed_rows(rows) if rows else ():
            written(forged, folder / name) if forged else (folder / name).write_bytes(original.splitlines(True)[0])
            count = counts.setdefault(f"{name}, {kind}", [0, 0])
            count[0] += 1
            try:
                frames: dict[str, pd.DataFrame] = {SAMPLES: read_samples(folder / SAMPLES, superseded=True)}
                frames |= read_own_rows(folder)
                sessions = len(environment["sessions"])
                found = required_rows(folder / "plan.json", CONFIG, frames, sessions=sessions)
                if not any(required.faults for required in found.values()):
                    count[1] += 1
                    missed.append(f"{name}, {kind}: {set(map(str, forged)) ^ set(map(str, rows))}")
            except HarnessError:
                pass  # refused by the reader of rows, in one sentence
        (folder / name).write_bytes(original)
    return counts, missed


def mended(bundle: Bundle, files: dict[str, bytes], path: Path, top: str = "run", **manifest: object) -> Path:
    """Write a bundle whose manifest agrees with changed files, as a careful forger would."""
    text = {
        **bundle.manifest,
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())},
        "sample_rows": row_digests(files["samples.csv"]),
        **manifest,
    }
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{top}/manifest.json", json.dumps(text))
        for name, data in files.items():
            archive.writestr(f"{top}/{name}", data)
    return path


def _failed_checks(path: Path, folder: Path) -> bool:
    try:
        return any(result.problems for result in check(read_bundle(path), folder))
    except HarnessError:
        return True


def forged_files(bundle: Bundle) -> Iterator[tuple[str, dict[str, bytes], dict[str, object]]]:
    """Yield changed files of a bundle, with changes of its manifest, by kind."""
    other = {"matplotlib": "0", "numpy": "0", "freetype": "0"}
    pictures = sorted(name for name in bundle.files if name.endswith(".png"))
    for name, another in zip(pictures, pictures[1:] + pictures[:1], strict=True):
        files = {**bundle.files, name: bundle.files[another]}
        yield "pictures replaced", files, {}
        yield "pictures replaced, said to be drawn elsewhere", files, {"drawn_with": other}
    for name in sorted(bundle.files):
        if name.startswith("plots/"):
            yield "plots deleted", {n: data for n, data in bundle.files.items() if n != name}, {}
    yield "strange names", {**bundle.files, "notes.txt": b"x"}, {}
    archives = json.loads(bundle.files["archives.json"])
    for archive in archives["subjects"][0]["archives"]:
        archive["size_bytes"] += 1
        yield "sizes changed", {**bundle.files, "archives.json": json.dumps(archives).encode()}, {}
        archive["size_bytes"] -= 1


PLACES = (
    "/tmp/harness-forged",
    "../../outside",
    "X/results/paper",
    "results/../../x",
    "a\0b",
    "",
    ".",
    "~/x",
    "a" * 300,
)
"""What a stranger may call a run."""


def attack_places(bundle: Bundle, folder: Path, attempt: Callable[[Path, Path], bool]) -> tuple[int, int]:
    """Give the run the names of places; count those that wrote anything outside the folder of a check."""
    wrote = 0
    (folder / "work").mkdir()
    for number, place in enumerate(PLACES):
        config = json.loads(bundle.files["run.json"]) | {"run_id": place}
        files = {**bundle.files, "run.json": json.dumps(config).encode()}
        for name in ("samples.csv", "breakdown.csv"):
            files[name] = files[name].replace(b"\nforged,", f"\n{place},".encode())
        path = mended(bundle, files, folder / "forged.zip", run_id=place)
        before = {p for p in folder.rglob("*") if folder / "work" not in p.parents}
        attempt(path, folder / "work" / str(number))
        after = {p for p in folder.rglob("*") if folder / "work" not in p.parents}
        wrote += before != after or Path("/tmp/harness-forged").exists()
    return len(PLACES), wrote


def main() -> int:
    """Forge, check, and print what was tried and what was not named."""
    with tempfile.TemporaryDirectory(prefix="harness-forgeries-") as scratch:
        folder = measured(Path(scratch) / "run")
        counts, missed = attack_rows(folder)
        write_bundle(folder, Path(scratch) / "a.zip")
        bundle = read_bundle(Path(scratch) / "a.zip")
        for number, (kind, files, manifest) in enumerate(forged_files(bundle)):
            count = counts.setdefault(kind, [0, 0])
            forged = mended(dataclasses.replace(bundle), files, Path(scratch) / "forged.zip", **manifest)
            count[0] += 1
            if not _failed_checks(forged, Path(scratch) / f"check{number}"):
                count[1] += 1
                missed.append(kind)
        (Path(scratch) / "places").mkdir()
        tried, wrote = attack_places(bundle, Path(scratch) / "places", _failed_checks)
    for kind, (tries, passed) in counts.items():
        print(f"forgeries, {kind}: {tries} tried, {passed} not named")
    print(f"forgeries, run_id as a path: {tried} tried, {wrote} wrote outside the folder of the check")
    for text in missed:
        print(f"not named: {text}", file=sys.stderr)
    return 1 if missed or wrote else 0


if __name__ == "__main__":
    sys.exit(main())
