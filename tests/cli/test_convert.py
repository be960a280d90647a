"""Converting in the three modes: what is stored, what is said, and what is refused."""

from __future__ import annotations

import pytest

from harness.cli import main
from harness.formats.archive import open_archive, verify_archive
from harness.row_files import read_samples
from tests.conftest import plain

TRACE = "synthetic:layers=1,heads=2,hidden_dim=8,pair_dim=4,n_res=20,filled=both"
MINIMAL = ["--mode", "minimal", "--bound", "pair=1e-2", "--bound", "attention=1e-3"]


def digests(path):
    with open_archive(path) as (_, _, manifest):
        return manifest.digests


def test_the_lossless_modes_hold_the_same_bits(tmp_path):
    paths = {mode: tmp_path / f"{mode}.slim.zarr" for mode in ("default", "slim", "vanilla")}
    for mode, path in paths.items():
        assert main(["convert", TRACE, str(path), *([] if mode == "default" else ["--mode", mode])]) == 0
    assert digests(paths["slim"]) == digests(paths["vanilla"]) == digests(paths["default"])
    files = {mode: sorted(p.relative_to(path).as_posix() for p in path.rglob("c.*")) for mode, path in paths.items()}
    assert files["default"] == files["slim"]
    assert {"single/layer_0/c.0.0", "pair/layer_0/c.0.0.0", "attention/layer_0/c.0.0.0"} <= set(files["vanilla"])
    assert not any("layer_" in file for file in files["slim"])
    assert main(["convert", TRACE, str(tmp_path / "a.h5"), "--mode", "vanilla"]) == 0


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
    options = ["--preset", "quick", "--trace", f"file:{second}", "--formats", "npz", "--baseline", "npz"]
    options += ["--suites", "full_read", "--rounds", "1", "--out", str(run)]
    assert main(["run", "--quiet", *options]) == 0
    rows = read_samples(run / "samples.csv")
    assert set(rows["trace"]) == {"file:b.h5 (lossy)"}
    assert set(rows["status"]) == {"ok"}
    report = (run / "report.md").read_text()
    assert "b.h5 (lossy)" in report
    assert "was rounded within declared bounds before it was measured" in report


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("b.slim.zarr", ["--mode", "tiny"], "no mode named 'tiny'"),
        ("b.slim.zarr", ["--mode", "minimal"], "needs a bound for each role that it may round, such as --bound"),
        ("b.slim.zarr", ["--mode", "minimal", "--drop", "pair/layer_0"], "needs a bound"),
        ("b.slim.zarr", ["--bound", "pair=1e-2"], "--bound gives something up: choose --mode minimal"),
        ("b.slim.zarr", ["--mode", "slim", "--top-k", "3"], "--top-k gives something up"),
        ("b.slim.zarr", ["--mode", "vanilla", "--drop", "pair/layer_0"], "--drop gives something up"),
        ("b.h5", ["--mode", "slim"], "'hdf5' stores everything as given and has no --mode slim"),
        ("b.h5", ["--mode", "minimal", "--bound", "pair=2"], "above 0 and below 1"),
        ("b.h5", [*MINIMAL, "--drop", "pear/layer_0"], "no tensor for --drop named"),
        ("a.h5", MINIMAL, "exists already"),
    ],
)
def test_modes_that_cannot_be_are_refused(tmp_path, capsys, name, options, message):
    (tmp_path / "a.h5").write_text("mine")
    assert main(["convert", TRACE, str(tmp_path / name), *options]) == 2
    said = capsys.readouterr().err
    assert message in said and len(said.strip().splitlines()) == 1 and "Traceback" not in said
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]


def test_a_minimal_archive_is_not_made_minimal_again(tmp_path, capsys):
    assert main(["convert", TRACE, str(tmp_path / "a.h5"), *MINIMAL]) == 0
    assert main(["convert", str(tmp_path / "a.h5"), str(tmp_path / "b.h5"), *MINIMAL]) == 2
    assert "lossy already" in capsys.readouterr().err
    assert not (tmp_path / "b.h5").exists()
