"""A directory of a stranger decides neither where files are written, nor how much, nor with which permissions."""

from __future__ import annotations

import hashlib
import json
import lzma
import os
import resource
import signal
import struct
from pathlib import Path

import pytest

from benchmarks.directories import af2, af3, digests
from harness.cli import main
from harness.errors import HarnessError
from harness.extensions.result_directories import coding, container
from harness.extensions.result_directories.manifest import NAME
from harness.extensions.result_directories.restoring import unslim
from harness.extensions.result_directories.slimming import slim
from harness.limits import limits

FILE = "result_x.pkl"


def content(data: bytes, size: int | None = None) -> dict[str, object]:
    return {"size": len(data) if size is None else size, "sha256": hashlib.sha256(data).hexdigest()}


def packed(suffix: str, data: bytes, size: int, **changes: object) -> dict[str, object]:
    """An entry for a packed file."""
    entry = {"fate": "packed", "state": "done", "survives_in": FILE + suffix, "precision": "bit for bit", "why": ""}
    return {**entry, "before": content(b"", size), "after": content(data), **changes}


def hostile(folder: Path, items: dict[str, object], files: dict[str, bytes]) -> Path:
    """A directory with a manifest of this, and files."""
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    head = {"slim_manifest": 1, "harness": "0.1.0", "kind": "af2", "mode": "slim", "bound": None, "plain": "best"}
    (folder / NAME).write_text(json.dumps({**head, "best": [], "items": items}))
    return folder


def slim_file(blocks: list[bytes], **header: object) -> bytes:
    """A file of our container with this header."""
    whole = {"version": 1, "sha256": "0" * 64, "original": "0" * 64, "dropped": [], "lengths": list(map(len, blocks))}
    stated = lzma.compress(json.dumps({**whole, **header}).encode())
    return b"".join((container.MAGIC, struct.pack("<Q", len(stated)), stated, *blocks))


@pytest.fixture
def hangs():
    """Ends a test that waits for a pipe: opening one is interrupted by what the handler raises."""

    def stop(*_):
        raise AssertionError("it waits for a pipe")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


ZEROS = lzma.compress(bytes(64 << 20))
SPACE = coding.encode_text(b"\x00," * (32 << 20))
TEXT = coding.encode_text(bytes(64 << 20))
LARGE = {"how": "words", "size": 64 << 20, "item": 1, "planes": [[1, len(TEXT)]]}
"""How 64 MiB of zeros are coded, as the bytes of words."""


def array_file(size: int, *arrays: dict[str, object]) -> bytes:
    """A packed pickle of one byte and of arrays that are coded so; zeros in each block."""
    blocks = [coding.encode_text(b"x"), *(TEXT for _ in arrays)]
    return slim_file(blocks, size=size, kind="pickle", skeleton=1, arrays=list(arrays), pieces=[[0, 0]])


def number_file(**stream: object) -> bytes:
    """A packed JSON of two bytes, with one stream of numbers that is coded so; zeros in its block."""
    return slim_file([coding.encode_text(b"\x00,"), TEXT], size=2, kind="json", skeleton=2, streams=[stream])


BOMBS = {
    "negative size": (
        ".slim",
        array_file(9, {"how": "text", "size": 64 << 20}, {"how": "text", "size": -(64 << 20)}),
        9,
        "arrays[1].size expected int >= 0",
    ),
    "size beside the one that is decoded": (
        ".slim",
        number_file(
            how="decimals",
            decimals=0,
            style="repr",
            integers={"how": "text", "size": 1, "shape": [1, -1], "axes": [], "words": LARGE},
        ),
        2,
        "larger than its content",
    ),
    "words of another name": (
        ".slim",
        number_file(how="other", size=0, dtype="<f8", words=LARGE),
        2,
        "coded as 'other', which this version does not know",
    ),
    "words of an array": (
        ".slim",
        number_file(how="words", size=0, item=1, planes=[[0, 0]], dtype="<f8", words=LARGE),
        2,
        "a block of numbers is coded as 'words'",
    ),
    "numbers of an array": (
        ".slim",
        array_file(9, {"how": "floats", "dtype": "<f8", "words": {**LARGE, "size": 8}}),
        9,
        "a block of an array is coded as 'floats'",
    ),
    "triangle that is no square": (
        ".slim",
        array_file(1 << 17, {**LARGE, "size": 1 << 16, "square": [1 << 16, 1]}),
        1 << 17,
        "its word table is inconsistent",
    ),
    "type": (
        ".slim",
        array_file(
            9,
            {
                "how": "grid",
                "step": 1.0,
                "dtype": "S1000000",
                "integers": {"how": "integers", "shape": [1, 1], "axes": [], "words": {**LARGE, "size": 1}},
            },
        ),
        9,
        "arrays[0].dtype expected str matching regex",
    ),
    "differences": (
        ".slim",
        number_file(
            how="decimals",
            decimals=0,
            style="repr",
            integers={"how": "integers", "shape": [1, 1], "axes": [1] * 1000, "words": {**LARGE, "size": 1}},
        ),
        2,
        "it has differences along the axes",
    ),
    "integers of one byte": (
        ".slim",
        number_file(
            how="decimals",
            decimals=0,
            style="repr",
            integers={"how": "integers", "shape": [1, -1], "axes": [], "words": {**LARGE, "size": 16}},
        ),
        2,
        "larger than its content",
    ),
    "words of no bytes": (".slim", array_file(9, {**LARGE, "size": 1, "item": 0}), 9, "item expected int >= 1"),
    "xz of size 1": (".xz", ZEROS, 1, "more than the 1 bytes that are stated"),
    "xz of its own size": (".xz", lzma.compress(bytes(200 << 20)), 200 << 20, "makes 200 MiB of"),
    "window": (".xz", b"\xfd7zXZ\x00\x00\x04\xe6\xd6\xb4F\x02\x00!\x01(\x00\x00\x00" + bytes(40), 9, "damaged"),
    "header": (".slim", container.MAGIC + struct.pack("<Q", len(ZEROS)) + ZEROS, 9, "its header inflates to more than"),
    "size": (
        ".slim",
        slim_file([b""], size=120 << 20, kind="json", skeleton=0),
        120 << 20,
        "it gives 120 MiB, more than 8 MiB",
    ),
    "size that is not stated": (".slim", slim_file([b""], size=5, kind="json", skeleton=0), 9, "9 bytes are stated"),
    "skeleton": (".slim", slim_file([SPACE], size=9, kind="json", skeleton=64 << 20, streams=[]), 9, "larger than"),
    "pieces": (
        ".slim",
        slim_file(
            [coding.encode_text(b"x"), coding.encode_text(bytes(1 << 20))],
            size=1 << 20,
            kind="pickle",
            skeleton=1,
            arrays=[{"how": "text", "size": 1 << 20}],
            pieces=[[0, 0]] * 100_000,
        ),
        1 << 20,
        "do not have the size",
    ),
    "numbers": (
        ".slim",
        slim_file(
            [coding.encode_text(b"\x00," * 1000), coding.encode_text(b"1" * 100_000)],
            size=2000,
            kind="json",
            skeleton=2000,
            streams=[{"how": "tokens", "size": 100_000}],
        ),
        2000,
        "larger than its content",
    ),
    "decimals": (
        ".slim",
        slim_file(
            [coding.encode_text(b"\x00,"), b"\x02"],
            size=2,
            kind="json",
            skeleton=2,
            streams=[
                {
                    "how": "decimals",
                    "decimals": 10**9,
                    "style": "fixed",
                    "integers": {
                        "how": "integers",
                        "shape": [1, 1],
                        "axes": [],
                        "words": {"how": "words", "size": 1, "item": 1, "planes": [[0, 1]]},
                    },
                }
            ],
        ),
        2,
        "1000000000 decimals",
    ),
    "square": (
        ".slim",
        slim_file(
            [coding.encode_text(b"x"), b""],
            size=2,
            kind="pickle",
            skeleton=1,
            arrays=[{"how": "words", "size": 1, "item": 1, "planes": [[0, 0]], "square": [1 << 20, 1 << 20]}],
            pieces=[[0, 0]],
        ),
        2,
        "its word table is inconsistent",
    ),
    "nested": (
        ".slim",
        slim_file([b""], size=5, kind="json", skeleton=0, streams=[{"how": "x" * (9 << 20)}]),
        5,
        "8 MiB",
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_no_file_inflates_beyond_what_is_stated_or_allowed(tmp_path, capsys, name):
    suffix, data, size, says = BOMBS[name]
    folder = hostile(tmp_path / "job", {FILE: packed(suffix, data, size)}, {FILE + suffix: data})
    before, peak = digests(folder), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert main(["unslim", str(folder), "--quiet"]) == 1
    assert says in capsys.readouterr().err
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 256 << 10  # KiB
    assert digests(folder) == before


def test_a_limit_can_be_raised(monkeypatch):
    data = json.dumps({"pae": [[0.5] * 64] * 64}).encode()
    monkeypatch.setattr(limits, "inflated", 9000)
    with pytest.raises(HarnessError, match=r"more than 8\.789 KiB; .* raise that with --max-inflated"):
        container.pack("pae_x.json", data)
    monkeypatch.setattr(limits, "inflated", 1 << 30)
    assert container.unpack(container.pack("pae_x.json", data)[1]).data == data


def test_a_few_bytes_are_not_copied_to_fill_a_disk(tmp_path, capsys):
    data = os.urandom(1 << 20)
    entry = {"fate": "copy", "state": "done", "survives_in": "data", "precision": "bit for bit", "why": "copy"}
    items = {f"result_{number}.pkl": {**entry, "before": content(data)} for number in range(300)}
    folder = hostile(tmp_path / "job", items, {"data": data})
    assert main(["unslim", str(folder), "--quiet"]) == 1
    said = capsys.readouterr().err
    assert "makes 300 MiB of" in said and "--max-inflated" in said
    assert sorted(path.name for path in folder.iterdir()) == ["data", NAME]


@pytest.mark.parametrize(
    "name",
    [
        "/tmp/outside",
        "../outside",
        "a/../../outside",
        "link/outside",
        "a\0b",
        "a\x1b[31mb",
        "a\nb",
        "",
        ".",
        NAME,
        "./a",
        "\ud800",
    ],
)
@pytest.mark.parametrize("place", ["item", "survives_in"])
def test_no_path_leaves_the_directory(tmp_path, capsys, name, place):
    data = lzma.compress(b"x")
    entry = packed(".xz", data, 1, before=content(b"x"))
    if place == "survives_in":
        items = {FILE: {**entry, "fate": "copy", "survives_in": name, "after": None}}
    else:
        items = {name: {**entry, "survives_in": name + ".xz"}}
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "outside.xz").write_bytes(data)
    (tmp_path / "outside.xz").write_bytes(data)
    folder = hostile(tmp_path / "job", items, {FILE + ".xz": data})
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    before = digests(tmp_path)
    for command in ("slim", "unslim"):
        assert main([command, str(folder), "--quiet"]) == 2
        said = capsys.readouterr().err
        assert "nothing was changed" in said and "\x1b" not in said and len(said.splitlines()) == 1
    assert digests(tmp_path) == before


@pytest.mark.parametrize(
    ("stated", "restored"),
    [(0o4755, 0o755), (0o2755, 0o755), (0o1777, 0o755), (0o666, 0o644), (0o600, 0o600), (0, 0o400)],
)
def test_permissions_come_back_and_no_more_than_a_new_file_has(tmp_path, stated, restored):
    data = lzma.compress(b"x")
    folder = hostile(
        tmp_path / "job", {FILE: packed(".xz", data, 1, before=content(b"x"), mode=stated)}, {FILE + ".xz": data}
    )
    umask = os.umask(0o022)
    try:
        assert not unslim(folder).problems
    finally:
        os.umask(umask)
    assert (folder / FILE).stat().st_mode & 0o7777 == restored


@pytest.mark.parametrize(
    "name", [NAME, FILE, FILE + ".xz", "ranking_debug.json", "pae_a.json", ".x.harness-slim-partial"]
)
def test_no_pipe_is_waited_for(tmp_path, hangs, name):
    data = lzma.compress(b"x")
    folder = hostile(tmp_path / "job", {FILE: packed(".xz", data, 1, before=content(b"x"))}, {FILE + ".xz": data})
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    for command in (["slim", "--dry-run"], ["unslim"]):
        assert main([*command, str(folder)]) in (0, 1, 2)
    fresh = af2(tmp_path / "fresh", 6)
    (fresh / "pae_pipe.json").unlink(missing_ok=True)
    os.mkfifo(fresh / "pae_pipe.json")
    assert not slim(fresh, "slim").problems


def test_a_large_manifest_is_refused(tmp_path, capsys):
    folder = af3(tmp_path / "job", 8)
    slim(folder, "slim")
    with (folder / NAME).open("a") as file:
        file.write(" " * (64 << 20))
    assert main(["unslim", str(folder)]) == 1
    assert "larger than 64 MiB" in capsys.readouterr().err


def test_a_name_that_a_terminal_would_obey_is_left(tmp_path, capsys):
    folder = af2(tmp_path / "job", 8)
    name = "result_\x1b[2J.pkl"
    (folder / name).write_bytes((folder / "result_model_1_multimer_v3_pred_0.pkl").read_bytes())
    before = digests(folder)
    assert main(["slim", str(folder)]) == 0
    said = capsys.readouterr().out
    assert "result_\\x1b[2J.pkl" in said and "\x1b" not in said
    assert (folder / name).exists() and not unslim(folder).problems and digests(folder) == before
