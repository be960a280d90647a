"""Converting in the lossless modes: what is stored, what is said, and what is refused."""

from __future__ import annotations

import pytest

from harness.cli import main
from harness.formats.archive import archive_size, open_archive

TRACE = "synthetic:layers=1,heads=2,hidden_dim=8,pair_dim=4,n_res=20,filled=both"


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
    assert set(files["slim"]) <= set(files["vanilla"])
    assert archive_size(paths["slim"])[0] < archive_size(paths["vanilla"])[0]
    assert main(["convert", TRACE, str(tmp_path / "a.h5"), "--mode", "vanilla"]) == 0


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("b.slim.zarr", ["--mode", "tiny"], "no mode named 'tiny'"),
        ("a.h5", [], "exists already"),
        ("b.h5", ["--mode", "slim"], "'hdf5' stores everything as given and has no --mode slim"),
        ("b.h5", ["--plain", "pair/*"], "--plain is about slimmed formats, and 'hdf5' stores everything as given"),
        ("b.slim.h5", ["--mode", "vanilla", "--plain", "pair/*"], "--plain is about slimmed formats"),
        ("b.slim.h5", ["--plain", "pairs/*"], "no tensor named 'pairs/*'; did you mean 'pair/*'?"),
        ("b.slim.h5", ["--plain", ""], "names separated by commas"),
    ],
)
def test_modes_that_cannot_be_are_refused(tmp_path, capsys, name, options, message):
    (tmp_path / "a.h5").write_text("mine")
    assert main(["convert", TRACE, str(tmp_path / name), *options]) == 2
    said = capsys.readouterr().err
    assert message in said and len(said.strip().splitlines()) == 1 and "Traceback" not in said
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]


OWN = """
from harness.formats.raw import RawFormat


class Own(RawFormat):
    name, suffix, magic = "own", ".own", b"own"
"""


def test_an_archive_of_a_format_of_ones_own_is_shown(tmp_path, capsys, monkeypatch):
    (tmp_path / "own_format.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    path = str(tmp_path / "a.own")
    assert main(["convert", TRACE, path, "--format", "own_format:Own"]) == 0
    assert main(["inspect", path, "--backend", "own_format:Own"]) == 0
    assert "own: flat file" in capsys.readouterr().out
    assert main(["inspect", path, "--backend", "own_format:None_"]) == 2
    assert "cannot be imported" in capsys.readouterr().err
