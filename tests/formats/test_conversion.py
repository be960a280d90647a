"""An archive is a trace, and passes from format to format unchanged or not at all."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from harness.cli import main
from harness.errors import ArchiveError, HarnessError, UsageError
from harness.formats import conversion
from harness.formats.archive import detect, open_archive, verify_archive, write_archive
from harness.formats.archive_trace import ArchiveTrace
from harness.formats.base import load_format
from harness.formats.describing import SlimmingFormat
from harness.testing.comparing import contents
from harness.trace.sources import open_trace
from tests.formats.samples import BACKENDS, INSTALLED, assert_holds, assert_same, put, trace_of

Arrays = Mapping[str, np.ndarray]


@pytest.mark.parametrize("name", BACKENDS)
def test_the_format_is_found_in_the_content_not_in_the_name(name: str, small: Arrays, tmp_path: Path) -> None:
    for suffix in ("", ".zarr", ".npz", ".h5", ".safetensors"):
        path = tmp_path / f"archive{suffix}"
        write_archive(trace_of(small), load_format(name), path)
        assert detect(path).name == name


# Each format as a source and as a target, twice, beside another each time.
PAIRS = [(source, (2 * INSTALLED)[k + step]) for k, source in enumerate(INSTALLED) for step in (1, 3)]


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_any_format_becomes_any_other(source: str, target: str, small: Arrays, tmp_path: Path) -> None:
    first = put(tmp_path, source, small)
    second = tmp_path / "converted"
    manifest = write_archive(ArchiveTrace(first), load_format(target), second)
    assert detect(second).name == target
    assert_holds(second, small)
    assert verify_archive(second) == []
    with open_archive(first) as (_, _, before):
        assert manifest == before


@pytest.mark.parametrize("name", BACKENDS)
def test_an_archive_is_a_trace(name: str, sample: Arrays, tmp_path: Path) -> None:
    path = put(tmp_path, name, sample)
    trace = open_trace(f"file:{path}")
    assert trace.label == f"file:{path.name}"
    for spec in trace.manifest.tensors:
        blocks = list(trace.blocks(spec.path))
        whole = np.concatenate(blocks) if spec.shape and blocks else np.array(blocks[0] if blocks else [], spec.dtype)
        assert_same(whole.reshape(spec.shape), sample[spec.path])


def test_a_trace_from_a_damaged_archive_is_refused_when_its_digest_differs(small: Arrays, tmp_path: Path) -> None:
    path = put(tmp_path, "raw", small)
    data = bytearray(path.read_bytes())
    data[100] ^= 4  # within the first tensor
    path.write_bytes(data)
    target = tmp_path / "converted.h5"
    with pytest.raises(ArchiveError, match="pair/layer_0 does not match the digest"):
        write_archive(ArchiveTrace(path), load_format("hdf5"), target)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("text", "message"), [("file:", "needs a path"), ("file:/no/such/archive", "There is no file")]
)
def test_a_file_trace_needs_a_file(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_trace(text)


def test_vanilla_stores_every_tensor_as_given(sample: Arrays, tmp_path: Path) -> None:
    found = {}
    for kind, backend in (("slim", load_format("zarr-slim")), ("vanilla", load_format("zarr-slim").of)):
        path = tmp_path / kind
        found[kind] = write_archive(trace_of(sample), backend, path).digests
        assert verify_archive(path) == []
        assert detect(path).name == "zarr-slim"
        own = json.loads((path / "zarr.json").read_text())
        nodes = own["consolidated_metadata"]["metadata"]
        arrays = {place: node for place, node in nodes.items() if node["node_type"] == "array"}
        narrowed = {node["attributes"]["narrowing"] for node in arrays.values()} - {"none"}
        if kind == "vanilla":
            assert set(arrays) == set(sample)
            assert not narrowed
        else:
            assert len(arrays) < len(sample)
            assert "bfloat16" in narrowed
    assert found["slim"] == found["vanilla"]


@pytest.mark.parametrize("name", ["npz", "hdf5", "zarr", "raw"])
def test_formats_that_store_everything_as_given_do_not_slim(name: str) -> None:
    assert not isinstance(load_format(name), SlimmingFormat)


def test_in_place_an_archive_keeps_every_bit(sample: Arrays, tmp_path: Path, capsys: Any) -> None:
    path = put(tmp_path, "zarr-slim", sample, "fast")
    assert main(["convert", str(path), "--in-place", "--profile", "cold"]) == 0
    assert "bytes before" in capsys.readouterr().out
    assert_holds(path, sample)
    assert verify_archive(path) == [] and "numcodecs.shuffle" in "".join(f.read_text() for f in path.rglob("zarr.json"))
    file = put(tmp_path, "hdf5", sample)
    (tmp_path / "link.h5").symlink_to(file)
    assert main(["convert", str(tmp_path / "link.h5"), "--in-place", "--profile", "seed"]) == 0
    assert_holds(file, sample)
    assert sorted(found.name for found in tmp_path.iterdir()) == sorted(["link.h5", file.name, path.name])


def test_in_place_tensors_stay_plain_where_that_is_asked_for(small: Arrays, tmp_path: Path, capsys: Any) -> None:
    path = put(tmp_path, "zarr-slim", small)
    name = next(name for name, array in small.items() if array.dtype == np.float32 and array.ndim == 3)
    argv = ["convert", str(path), "--in-place", "--profile", "fast"]
    assert main([*argv, "--plain", name]) == 0
    assert_holds(path, small)
    assert zarr.open_array(path / name, mode="r").dtype == np.float32
    assert main([*argv, "--plain", "nothing/*"]) == 2
    assert "nothing/*" in capsys.readouterr().err and verify_archive(path) == []


@pytest.mark.parametrize("fault", ["writing", "damaged", "verifying", "exchange"])
def test_in_place_a_fault_leaves_the_archive_as_it_was(
    fault: str, small: Arrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(tmp_path, "zarr-slim", small)
    if fault == "damaged":
        shard = max(path.rglob("c*"), key=lambda found: found.stat().st_size if found.is_file() else 0)
        shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    before = contents(path)

    def refuse(*_: object, **__: object) -> None:
        raise HarnessError("a fault")

    named = {"writing": "write_archive", "verifying": "verify_archive", "exchange": "exchange"}
    if fault in named:
        monkeypatch.setattr(conversion, named[fault], refuse)
    with pytest.raises(HarnessError):
        conversion.convert_in_place(path, "fast")
    assert contents(path) == before
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


@pytest.mark.slow
def test_killed_in_place_an_archive_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.slim.zarr"
    write_archive(open_trace("synthetic:layers=2", 64), load_format("zarr-slim"), path)
    digests = ArchiveTrace(path).manifest.digests
    code = (
        "import sys; from pathlib import Path; from harness.formats.conversion import convert_in_place as c\n"
        "while True:\n    c(Path(sys.argv[1]), 'fast'); c(Path(sys.argv[1]), 'tuned'); print('.', flush=True)"
    )
    for number in range(3):
        with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.read(1)
            time.sleep(0.1 * number)
            process.kill()
        assert verify_archive(path) == [] and ArchiveTrace(path).manifest.digests == digests
    conversion.convert_in_place(path, "tuned")
    assert [found.name for found in tmp_path.iterdir()] == [path.name], "what killed ones left is removed"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["b.h5", "--in-place"], "goes without a destination"),
        (["--in-place", "--mode", "slim"], "goes without --mode"),
        (["--in-place", "--profile", "warm"], "no profile named 'warm'"),
        ([], "Name a destination"),
    ],
)
def test_in_place_bad_input_is_refused_in_a_sentence(
    words: list[str], said: str, small: Arrays, tmp_path: Path, capsys: Any
) -> None:
    path = put(tmp_path, "zarr-slim", small)
    assert main(["convert", str(path), *words]) == 2
    assert said in capsys.readouterr().err
