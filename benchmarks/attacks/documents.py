"""Spoil places of every stored document, and run what reads it: success or one sentence, and never a traceback."""

from __future__ import annotations

import contextlib
import io
import json
import random
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.cli import main as harness

TRACE = "synthetic:layers=1,heads=2,hidden_dim=8,pair_dim=4"
RUN = ["--quiet", "--trace", TRACE, "--sizes", "16", "--formats", "hdf5,npz", "--suites", "size,full_read"]
VALUES: tuple[Any, ...] = ("x\x1b[31m", None, 10**30, 2**63, -1, 0, 1.5, 1e308, True, [], {}, ["../x"], {"a": None})
PLACES = 25  # of each document, drawn at random: a plan has thousands that are alike

DOCUMENTS = ("run.json", "plan.json", "archives.json", "environment.json", "report.json")
TABLES = ("samples.csv", "breakdown.csv")
FIELDS = ("inf", "abc", "-1", "nan", "", "9" * 40, "1e999", "0.5", "True", "\x00", "x" * 10)


def make(folder: Path) -> Path:
    """Make the run that is spoiled."""
    run = folder / "run"
    _quietly(["run", *RUN, "--preset", "quick", "--rounds", "3", "--out", str(run)])
    _quietly(["report", str(run)])
    return run


def spoiled(text: bytes, rng: random.Random, places: int) -> Iterator[bytes]:
    """Yield a JSON document with one place after the other spoiled, and the whole spoiled."""
    yield from (
        b"",
        text[: len(text) // 2],
        b"\xff" + text,
        b"[" * 10_000,
        b"[]",
        b"null",
        b"3",
        text.replace(b"{", b"[", 1),
    )
    found = list(_places(json.loads(text), ()))
    for place in rng.sample(found, min(places, len(found))):
        for value in VALUES:
            yield _changed(text, place, lambda within, key, value=value: within.__setitem__(key, value))
        yield _changed(text, place, lambda within, key: within.__delitem__(key))
        yield _changed(text, place, lambda within, key: within.__setitem__(key, "@@")).replace(b'"@@"', b"NaN")
        deep = b"[" * 10_000 + b"]" * 10_000
        yield _changed(text, place, lambda within, key: within.__setitem__(key, "@@")).replace(b'"@@"', deep)
        yield _changed(text, place, lambda within, key: isinstance(within, dict) and within.update(more=1))


def _places(value: Any, place: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield (*place, key)
        yield from _places(part, (*place, key))


def _changed(text: bytes, place: Sequence[Any], change: Callable[[Any, Any], object]) -> bytes:
    document = within = json.loads(text)
    for key in place[:-1]:
        within = within[key]
    change(within, place[-1])
    return json.dumps(document, indent=1).encode()


def spoiled_rows(text: bytes, rng: random.Random, places: int) -> Iterator[bytes]:
    """Yield a CSV file with one field after the other spoiled, and the whole spoiled."""
    yield from (b"", text[: len(text) // 2], b"\xff" + text, text.replace(b",", b";", 3), text + b",,,\n", b"x\n1\n")
    rows = [line.split(b",") for line in text.splitlines()]
    for _ in range(places):
        row, column = rng.randrange(len(rows)), rng.randrange(len(rows[0]))
        for field in FIELDS:
            changed = [list(fields) for fields in rows]
            changed[row][min(column, len(rows[row]) - 1)] = field.encode()
            yield b"\n".join(b",".join(fields) for fields in changed) + b"\n"


def attack(run: Path, places: int = PLACES) -> tuple[int, int, list[str]]:
    """Spoil the documents of a run one after the other.

    Returns
    -------
    tried, refused : int
        Commands run, and those of them that refused.
    through : list of str
        Tracebacks, and answers that are not one sentence.
    """
    tried, refused, through = 0, 0, []
    rng = random.Random(0)
    for name in (*DOCUMENTS, *TABLES):
        text = (run / name).read_bytes()
        every = spoiled(text, rng, places) if name in DOCUMENTS else spoiled_rows(text, rng, places)
        for number, changed in enumerate(every):
            (run / name).write_bytes(changed)
            for command in _commands(run, name):
                code, said = _quietly(command)
                tried, refused = tried + 1, refused + (code > 0)
                if said:
                    through.append(f"{name}, change {number}, {command[0]}: {said}")
        (run / name).write_bytes(text)
    return tried, refused, through


def _commands(run: Path, name: str) -> list[list[str]]:
    history = str(run.parent / "h.jsonl")
    Path(history).unlink(missing_ok=True)
    if name == "report.json":
        return [["plot", str(run)]]
    add = ["history", "add", str(run), "--file", history]
    return [add, ["report", str(run)]] if name == "environment.json" or name.endswith(".csv") else [add]


def _quietly(command: list[str]) -> tuple[int, str]:
    """Run a command; return its exit code and what is wrong with how it ended, empty when nothing is."""
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = harness(command)
    except SystemExit as stop:
        return 2, f"exit {stop.code}"
    except BaseException:  # noqa: BLE001 - it is what the attack looks for
        return 99, traceback.format_exc().strip().splitlines()[-1] + " " + traceback.format_exc().splitlines()[
            -3
        ].strip()
    lines = err.getvalue().strip().splitlines()
    if code and len(lines) != 1:
        return code, f"exit {code} with {len(lines)} lines: {lines[:2]}"
    return code, ""


def main() -> int:
    """Attack and print the count; return the exit code."""
    folder = Path(tempfile.mkdtemp(prefix="attack-documents-"))
    try:
        tried, refused, through = attack(make(folder))
    finally:
        shutil.rmtree(folder)
    print(f"spoiled documents: {tried} tried, {refused} refused in one sentence, {len(through)} got through")
    for line in dict.fromkeys(through):
        print(f"  {line}")
    return 1 if through else 0


if __name__ == "__main__":
    sys.exit(main())
