"""The mode minimal: every format holds the same lossy trace, says what it lost, and is held against its source."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.cli import main
from harness.errors import HarnessError
from harness.extensions.lossy.check import check_loss
from harness.extensions.lossy.minimal import MinimalTrace
from harness.extensions.lossy.request import parse
from harness.formats.archive import archive_size, open_archive, verify_archive, write_archive
from harness.formats.archive_trace import ArchiveTrace
from harness.formats.base import load_format
from harness.formats.conversion import convert
from harness.row_files import read_samples
from harness.testing.samples import sample_arrays, small_arrays
from harness.trace.schema import Role
from harness.trace.sources import open_trace
from harness.trace.stream import read_whole
from tests.conftest import plain
from tests.formats.samples import BACKENDS, LACKING, trace_of

Arrays = Mapping[str, np.ndarray]
TRACE = "synthetic:layers=1,heads=2,hidden_dim=8,pair_dim=4,n_res=20,filled=both"


@pytest.fixture(scope="module")
def sample() -> Arrays:
    """Every dtype, role and special value, by path."""
    return sample_arrays(LACKING)


@pytest.fixture(scope="module")
def small() -> Arrays:
    """A few small tensors, by path."""
    return small_arrays()


def digests(path):
    with open_archive(path) as (_, _, manifest):
        return manifest.digests


MINIMAL = ["--mode", "minimal", "--bound", "pair=1e-2", "--bound", "attention=1e-3"]


@pytest.mark.parametrize("name", BACKENDS)
def test_every_format_holds_the_same_minimal_trace(name: str, sample: Arrays, tmp_path: Path) -> None:
    source = trace_of(sample)
    trace = MinimalTrace(source, parse(["pair=1e-2", "attention=1e-3"], drop=["outputs/count"]))
    backend = load_format(name)
    path = tmp_path / f"archive{backend.suffix}"
    written = convert(trace, backend, path, check=partial(check_loss, source))
    assert verify_archive(path) == []
    again = ArchiveTrace(path)
    assert again.label == f"file:{path.name} (lossy)"
    assert again.manifest == written
    assert again.manifest.loss == trace.manifest.loss
    raw = write_archive(trace, load_format("raw"), tmp_path / "ceiling")
    assert written.digests == raw.digests


class Overreaching(MinimalTrace):
    """Rounds one value of the pair tensor by more than the bound when it is streamed again."""

    def blocks(self, path: str) -> Any:
        for block in super().blocks(path):
            if path == "pair/layer_0":
                block.reshape(-1)[0] *= 2
            yield block


def test_an_archive_that_breaks_its_bound_is_removed(small: Arrays, tmp_path: Path) -> None:
    source = trace_of(small)
    trace = Overreaching(source, parse(["pair=1e-2"]))
    with pytest.raises(HarnessError, match=r"removed: pair/layer_0: a value moved by more than the bound"):
        convert(trace, load_format("hdf5"), tmp_path / "a.h5", check=partial(check_loss, source))
    assert list(tmp_path.iterdir()) == []


CONSUMED = [
    ("vit-mnist", "attention=1e-3"),
    ("openfold-1ubq", "attention=1e-3"),
    ("synthetic:n_res=96,layers=1", "attention=1e-4"),
]


@pytest.mark.parametrize(("name", "bound"), CONSUMED)
def test_consumers_of_attention_read_the_same_from_a_minimal_archive(name: str, bound: str, tmp_path: Path) -> None:
    if not name.startswith("synthetic") and not os.environ.get("HARNESS_DATA"):
        pytest.skip("HARNESS_DATA names no folder of real data")
    source = open_trace(name)
    path = tmp_path / "trace.slim.zarr"
    convert(MinimalTrace(source, parse([bound])), load_format("zarr-slim"), path, check=partial(check_loss, source))
    whole = tmp_path / "whole.slim.zarr"
    convert(source, load_format("zarr-slim"), whole)
    assert archive_size(path)[0] < archive_size(whole)[0]
    with open_archive(path) as (_, reader, manifest):
        for spec in manifest.with_role(Role.ATTENTION):
            before, after = read_whole(source, spec.path), reader.read(spec.path)
            assert np.array_equal(before.argmax(-1), after.argmax(-1))
            best = (np.argsort(-values, axis=-1, kind="stable")[..., :10] for values in (before, after))
            assert np.array_equal(*best)
            assert np.allclose(before.sum(-1), after.sum(-1), atol=1e-6, rtol=0)


def test_consumers_of_pair_read_the_same_from_a_minimal_archive(tmp_path: Path) -> None:
    source = open_trace("synthetic:n_res=64,layers=1")
    path, name = tmp_path / "trace.h5", "activations/layer_0/pair_repr"
    convert(MinimalTrace(source, parse(["pair=1e-2"])), load_format("hdf5"), path, check=partial(check_loss, source))
    with open_archive(path) as (_, reader, _):
        before, after = read_whole(source, name), reader.read(name)
        # Rounding never inverts an order, so the strongest channel is still among the strongest.
        strongest = np.take_along_axis(after, before.argmax(-1)[..., None], axis=-1)[..., 0]
        assert np.array_equal(strongest, after.max(-1))
        assert np.array_equal(np.sign(before), np.sign(after))
        window = (slice(3, 9), slice(40, 64), slice(0, 128))
        part = reader.read(name, window)
        assert (np.abs(part - before[window]) <= 1e-2 * np.abs(before[window])).all()


def test_minimal_says_its_errors_and_inspect_shows_them(tmp_path, capsys):
    path = tmp_path / "a.slim.zarr"
    assert main(["convert", TRACE, str(path), *MINIMAL, "--top-k", "3", "--drop", "single/*=same as activations"]) == 0
    out = plain(capsys.readouterr().out)
    assert "verified bit for bit, and against the source's values within the bounds" in out
    assert "LOSSY (minimal): pair within 0.01 of each value's size; attention within 0.001 of a weight" in out
    assert "the top 3 of a row kept; 3 tensors dropped. Largest errors: 0.0078 of a value's size, 0.00" in out
    assert verify_archive(path) == []
    assert main(["inspect", str(path)]) == 0
    shown = plain(capsys.readouterr().out)
    for part in (
        "6 bits of significand",
        "2**-11: ",
        "3 dropped",
        "same as activations",
        "structure/atom_positions[:, 1]",
        "LOSSY (minimal)",
    ):
        assert part in shown


def test_a_lossy_archive_stays_lossy_in_every_format_and_is_shown_so_in_a_run(tmp_path, capsys):
    first, second = tmp_path / "a.safetensors", tmp_path / "b.h5"
    assert main(["convert", TRACE, str(first), *MINIMAL]) == 0
    assert main(["convert", str(first), str(second)]) == 0
    assert capsys.readouterr().out.count("LOSSY (minimal)") == 2
    assert digests(first) == digests(second)
    run = tmp_path / "results" / "run"
    options = [
        "--preset",
        "quick",
        "--readers",
        "stock",
        "--trace",
        f"file:{second}",
        "--formats",
        "npz",
        "--baseline",
        "npz",
    ]
    options += ["--suites", "full_read", "--rounds", "1", "--out", str(run)]
    assert main(["run", "--quiet", *options]) == 0
    rows = read_samples(run / "samples.csv")
    assert set(rows["trace"]) == {"file:b.h5 (lossy)"}
    assert set(rows["status"]) == {"ok"}
    report = (run / "report.md").read_text()
    assert "b.h5 (lossy)" in report
    assert "was rounded within declared bounds before it was measured" in report


def test_a_minimal_archive_is_not_made_minimal_again(tmp_path, capsys):
    assert main(["convert", TRACE, str(tmp_path / "a.h5"), *MINIMAL]) == 0
    assert main(["convert", str(tmp_path / "a.h5"), str(tmp_path / "b.h5"), *MINIMAL]) == 2
    assert "lossy already" in capsys.readouterr().err
    assert not (tmp_path / "b.h5").exists()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("b.slim.zarr", ["--mode", "minimal"], "needs a bound for each role that it may round, such as --bound"),
        ("b.slim.zarr", ["--mode", "minimal", "--drop", "pair/layer_0"], "needs a bound"),
        ("b.slim.zarr", ["--bound", "pair=1e-2"], "--bound is an option of --mode minimal: choose that with it"),
        ("b.slim.zarr", ["--mode", "slim", "--top-k", "3"], "--top-k is an option of --mode minimal"),
        ("b.slim.zarr", ["--mode", "vanilla", "--drop", "pair/layer_0"], "--drop is an option of --mode minimal"),
        ("b.h5", ["--mode", "minimal", "--bound", "pair=2"], "above 0 and below 1"),
        ("b.h5", [*MINIMAL, "--drop", "pear/layer_0"], "no tensor for --drop named"),
        ("a.h5", MINIMAL, "exists already"),
    ],
)
def test_what_minimal_cannot_do_is_refused(tmp_path, capsys, name, options, message):
    (tmp_path / "a.h5").write_text("mine")
    assert main(["convert", TRACE, str(tmp_path / name), *options]) == 2
    said = capsys.readouterr().err
    assert message in said and len(said.strip().splitlines()) == 1 and "Traceback" not in said
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]
