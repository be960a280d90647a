"""Spoil places of every stored document, and run what reads it: success or one sentence, and never a traceback."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import pickle
import random
import shutil
import sys
import tempfile
import traceback
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import tomli_w

from harness.analysis.choice.mix import presets
from harness.cli import main as harness
from harness.formats.archive import write_archive
from harness.formats.base import load_format
from harness.trace.sources import open_trace

TRACE = "synthetic:layers=1,heads=2,hidden_dim=8,pair_dim=4"
RUN = ["--quiet", "--trace", TRACE, "--sizes", "16", "--formats", "hdf5,npz", "--suites", "size,full_read"]
VALUES: tuple[Any, ...] = ("x\x1b[31m", None, 10**30, 2**63, -1, 0, 1.5, 1e308, True, [], {}, ["../x"], {"a": None})
SAMPLED, PLACES = 3, 25  # places of each document, drawn at random: by default, and with --all

MIX = tomli_w.dumps(presets()["interactive-viewer"].to_dict())
PROFILE = """version = 1
name = "mine"

[formats.hdf5.pair]
edge = 32

[formats.hdf5.attention]
edge = 128
"""

DOCUMENTS = ("run.json", "plan.json", "archives.json", "environment.json", "report.json")
TABLES = ("samples.csv", "breakdown.csv")
FIELDS = ("inf", "abc", "-1", "nan", "", "9" * 40, "1e999", "0.5", "True", "\x00", "x" * 10)


def make(folder: Path) -> Path:
    """Make the run that is spoiled."""
    run = folder / "run"
    _quietly(["run", *RUN, "--preset", "quick", "--rounds", "3", "--out", str(run)])
    _quietly(["report", str(run)])
    write_archive(open_trace(TRACE, 16), load_format("raw"), folder / "a.raw")
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


def attack(run: Path, places: int = SAMPLED) -> tuple[int, int, list[str]]:
    """Spoil the documents of a run, of its bundle and of what else is read, one after the other.

    Returns
    -------
    tried, refused : int
        Commands run, and those of them that refused.
    through : list of str
        Tracebacks, and answers that are not one sentence.
    """
    tried, refused, through = 0, 0, []
    rng = random.Random(0)
    for path, changes, commands in _targets(run, rng, places):
        text = path.read_bytes()
        for number, changed in enumerate(changes):
            path.write_bytes(changed)
            for command in commands:
                Path(_history(run)).unlink(missing_ok=True)
                code, said = _quietly(command)
                tried, refused = tried + 1, refused + (code > 0)
                if said:
                    through.append(f"{path.name}, change {number}, {command[0]}: {said}")
        path.write_bytes(text)
    return tried, refused, through


Target = tuple[Path, Iterable[bytes], list[list[str]]]


def _targets(run: Path, rng: random.Random, places: int) -> Iterator[Target]:
    """Yield each file, the spoiled versions of it, and the commands that read it."""
    add, report = ["history", "add", str(run), "--file", _history(run)], ["report", str(run)]
    for name in DOCUMENTS:
        commands = {"report.json": [["plot", str(run)]], "environment.json": [add, report]}.get(name, [add])
        yield run / name, spoiled((run / name).read_bytes(), rng, places), commands
    for name in TABLES:
        yield run / name, spoiled_rows((run / name).read_bytes(), rng, places), [add, report]
    yield from _bundle(run, rng, places)
    yield from _archives(run, rng, places)
    yield from _others(run, rng, places)


def _bundle(run: Path, rng: random.Random, places: int) -> Iterator[Target]:
    """The manifest, and documents under a manifest that agrees with them."""
    bundle = run.parent / "run.bundle.zip"
    _quietly(["bundle", str(run), "--out", str(bundle)])
    with zipfile.ZipFile(bundle) as packed:
        files = {name: packed.read(name) for name in packed.namelist()}
    (manifest,) = (name for name in files if name.endswith("/manifest.json"))

    def made(name: str, changed: bytes) -> bytes:
        new = {**files, name: changed}
        if name != manifest:
            stated = json.loads(files[manifest])
            stated["sha256"][name.rpartition("/")[2]] = hashlib.sha256(changed).hexdigest()
            new[manifest] = json.dumps(stated).encode()
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            for each, data in new.items():
                archive.writestr(each, data)
        return out.getvalue()

    for name in (manifest, *(name for name in files if name.rpartition("/")[2] in DOCUMENTS)):
        changes = list(spoiled(files[name], rng, max(1, places // 3)))
        chosen = changes if name == manifest else rng.sample(changes, min(len(changes), 2 * places))
        yield bundle, (made(name, changed) for changed in chosen), [["check", str(bundle), "--quiet"]]


def _archives(run: Path, rng: random.Random, places: int) -> Iterator[Target]:
    """Archives of each default format, whose manifest within is overwritten at its length."""
    for suffix in (".npz", ".h5", ".zarr", ".slim.zarr"):
        path = run.parent / f"a{suffix}"
        _quietly(["convert", str(run.parent / "a.raw"), str(path)])
        file = path if path.is_file() else path / "zarr.json"
        commands = [["inspect", str(path)], ["convert", str(path), str(run.parent / "b.raw")]]
        yield file, _overwritten(file.read_bytes(), rng, places), commands


def _overwritten(data: bytes, rng: random.Random, places: int) -> Iterator[bytes]:
    at = data.find(b"manifest_version")
    words = (b'"tensors"', b'"shape"', b'"dtype"', b'"path"', b"manifest_version", b'"float32"', b'"role"', b"\\n 64")
    yield from (data[: len(data) // 2], data[:9], b"")
    for word in words:
        if (found := data.find(word, max(0, at - 20))) >= 0:
            for new in (b"x" * len(word), b"[" * len(word), b"\xff" * len(word), b"9" * len(word)):
                yield data[:found] + new + data[found + len(word) :]
    for _ in range(4 * places):
        start = max(0, at) + rng.randrange(min(4000, len(data) - max(0, at)))
        yield data[:start] + rng.randbytes(4) + data[start + 4 :]


def _others(run: Path, rng: random.Random, places: int) -> Iterator[Target]:
    """A mix, a profile file, a line of a history, and the manifest of a slimmed directory."""
    folder = run.parent
    mix, profile, lines = folder / "mix.toml", folder / "profile.toml", folder / "lines.jsonl"
    mix.write_text(MIX)
    profile.write_text(PROFILE)
    _quietly(["history", "add", str(run), "--file", str(lines)])
    out = str(folder / "out")
    yield mix, _lines(MIX.encode(), rng), [["report", str(run), "--mix", str(mix), "--out", out]]
    inspect = ["run", *RUN, "--profile-file", str(profile), "--out", "/dev/null/x"]
    yield profile, _lines(PROFILE.encode(), rng), [inspect]
    yield lines, spoiled(lines.read_bytes(), rng, places), [["history", "show", "--file", str(lines), "--out", out]]
    job = folder / "job"
    job.mkdir()
    (job / "ranking_debug.json").write_text(json.dumps({"plddts": {"model_1": 1.0}, "order": ["model_1"]}))
    pickled = {"plddt": list(range(5000)), "distogram": {"a": 1}, "structure_module": {"b": 2}}
    (job / "result_model_1.pkl").write_bytes(pickle.dumps(pickled))
    (job / "features.pkl").write_bytes(pickle.dumps(pickled))
    _quietly(["slim", str(job), "--plain", "none"])
    ranking = job / "ranking_debug.json"
    yield ranking, spoiled(ranking.read_bytes(), rng, places), [["slim", str(job), "--dry-run"]]
    manifest = job / "slim-manifest.json"
    if manifest.exists():
        yield manifest, spoiled(manifest.read_bytes(), rng, places), [["slim", str(job), "--dry-run"]]


def _lines(text: bytes, rng: random.Random) -> Iterator[bytes]:
    yield from (b"", text[: len(text) // 2], b"\xff" + text, b"a = " + b"[" * 10_000, b"a." * 30_000 + b"a = 1")
    lines = text.splitlines()
    for number, line in enumerate(lines):
        name = line.partition(b"=")[0]
        for value in (b"-1", b"inf", b"nan", b"1e999", b"9" * 40, b'"x"', b"[]", b"{}", b"true", b"1979-05-27"):
            changed = name + b"= " + value if b"=" in line else b"[x." + value + b"]"
            yield b"\n".join((*lines[:number], changed, *lines[number + 1 :])) + b"\n"


def _history(run: Path) -> str:
    return str(run.parent / "h.jsonl")


def _quietly(command: list[str]) -> tuple[int, str]:
    """Run a command; return its exit code and what is wrong with how it ended, empty when nothing is."""
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = harness(command)
    except SystemExit as stop:
        return 2, f"exit {stop.code}"
    except KeyboardInterrupt:  # SIGTERM too
        raise
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
        tried, refused, through = attack(make(folder), PLACES if "--all" in sys.argv else SAMPLED)
    finally:
        shutil.rmtree(folder)
    print(f"spoiled documents: {tried} tried, {refused} refused in one sentence, {len(through)} got through")
    for line in dict.fromkeys(through):
        print(f"  {line}")
    return 1 if through else 0


if __name__ == "__main__":
    sys.exit(main())
