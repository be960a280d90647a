"""Any kind into any format, named in the lists, usable as a trace; what cannot be is one sentence."""

from __future__ import annotations

import os
import zipfile

import numpy as np
import pytest

from harness import limits
from harness.cli import main
from harness.files import tree_digest
from harness.foreign import source
from harness.foreign.naming import unpadded
from harness.foreign.opening import Asked, open_paths
from harness.foreign.source import SourceError
from harness.formats.archive import verify_archive
from harness.row_files import read_samples
from tests.conftest import plain
from tests.outputs import (
    af2_result,
    attention,
    attention_folder,
    attention_text,
    esmfold,
    pickled,
    prototype_zarr,
    same,
    seed_npz,
    seed_zarr,
)

MAKERS = {
    "vizfold-attention": lambda folder: attention_folder(folder / "attention")[0],
    "prediction-pickle": lambda folder: pickled(folder / "result_model_1.pkl", af2_result()),
    "esmfold-trace": lambda folder: esmfold(folder / "run")[0],
    "vizfold-zarr": lambda folder: prototype_zarr(folder / "run.zarr")[0],
    "seed-benchmark": lambda folder: seed_npz(folder / "data.npz"),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_every_kind_goes_into_every_format_alike(tmp_path, bring, kind):
    path = MAKERS[kind](tmp_path)
    first, manifest = bring(path, "--kind", kind, name="a.npz")
    for name in ("b.h5", "c.zarr", "d.slim.zarr"):
        found, other = bring(path, name=name)
        same(found, first)
        assert other == manifest  # digests, metadata and provenance are the same
    assert manifest.provenance.importer == f"harness 0.1.0, {kind}"
    assert main(["convert", str(tmp_path / "a.npz"), str(tmp_path / "e.h5")]) == 0
    assert verify_archive(tmp_path / "e.h5") == []


def test_it_is_listed_and_inspected(tmp_path, bring, capsys):
    assert main(["list", "importers"]) == 0
    listed = capsys.readouterr().out
    assert all(kind in listed for kind in MAKERS)
    path = attention_text(tmp_path / "msa_row_attn_layer0.txt", 0, attention(1))
    _, manifest = bring(path)
    assert "Note: text weights have 6 decimals" in capsys.readouterr().out
    assert main(["inspect", str(tmp_path / "imported.h5")]) == 0
    out = plain(capsys.readouterr().out)
    assert "attention_topk/msa_row/layer_0/weight" in out and "head rank" in out
    assert "imported from 1 file" in out and manifest.provenance.files[path.name] in out


def test_an_imported_archive_is_a_trace(tmp_path, bring, measure):
    bring(MAKERS["esmfold-trace"](tmp_path), name="esmfold.h5")
    bring(MAKERS["vizfold-attention"](tmp_path), name="attention.h5")
    traces = tuple(f"file:{tmp_path / name}.h5" for name in ("esmfold", "attention"))
    suites = ("full_read", "layer_read", "random_access")
    folder, _ = measure(tmp_path / "measured", traces=traces, sizes=(), rounds=1, suites=suites)
    rows = read_samples(folder / "samples.csv")
    assert set(rows["status"]) == {"ok", "skipped"}
    rows = rows[rows["status"] == "ok"]
    for name, access in (
        ("esmfold", "pair_layer"),
        ("esmfold", "head"),
        ("attention", "window_attention"),
        ("attention", "all_tensors"),
    ):
        assert access in set(rows.loc[rows["trace"] == f"file:{name}.h5", "access"])


def test_what_cannot_be_imported_is_said(tmp_path, refused):
    refused(tmp_path / "none", 2, "There is no file or folder")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", 2, "is empty: there is nothing to read")
    (tmp_path / "text.txt").write_text("something else\n")
    refused(tmp_path / "text.txt", 2, "holds no arrays that can be read here")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "text.txt").write_text("something else\n")
    refused(tmp_path / "folder", 1, "holds no array of numbers (text.txt: no container of arrays)")
    refused(tmp_path / "text.txt", 2, "no kind named 'vizfold-atention'", options=("--kind", "vizfold-atention"))


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("is_folder", [True, False])
def test_a_wrong_kind_is_said(tmp_path, capsys, kind, is_folder):
    path = tmp_path / "mine"
    if is_folder:
        path.mkdir()
    (path / "text.txt" if is_folder else path).write_text("something else\n")
    assert main(["convert", str(path), str(tmp_path / "a.h5"), "--kind", kind]) in (1, 2)
    said = capsys.readouterr().err
    assert str(path) in said and "Traceback" not in said and len(said.strip().splitlines()) == 1
    assert not (tmp_path / "a.h5").exists()


def test_a_source_of_two_kinds_asks_which(tmp_path, refused, bring):
    folder, _ = attention_folder(tmp_path / "attention")
    pickled(folder / "x_output_dict.pkl", af2_result())
    refused(folder, 2, "in more than one way", "--kind vizfold-attention", "--kind prediction-pickle")
    found, _ = bring(folder, "--kind", "prediction-pickle")
    assert "structure/ptm" in found


def test_destinations_that_cannot_be_are_refused(tmp_path, capsys):
    path = MAKERS["seed-benchmark"](tmp_path)
    before = path.read_bytes()
    for destination, options, part in (
        (path, [], "exists already"),
        (tmp_path / "no" / "a.h5", [], "does not exist"),
        (tmp_path / "a.xyz", [], "does not say which format"),
        (tmp_path / "a.h5", ["--profile", "best"], "no profile named"),
        (tmp_path / "a.h5", ["--format", "hdf"], "no format named"),
    ):
        assert main(["convert", str(path), str(destination), *options]) == 2
        assert part in capsys.readouterr().err
    assert path.read_bytes() == before and [each.name for each in tmp_path.iterdir()] == ["data.npz"]


def test_a_source_that_changes_meanwhile_leaves_no_archive(tmp_path, capsys, monkeypatch):
    path = MAKERS["seed-benchmark"](tmp_path)
    load = source.ImportedTrace.blocks

    def touched(self, name):
        os.utime(path, ns=(1, 1))
        yield from load(self, name)

    monkeypatch.setattr(source.ImportedTrace, "blocks", touched)
    assert main(["convert", str(path), str(tmp_path / "a.h5")]) == 1
    assert "data.npz changed while it was read" in capsys.readouterr().err
    assert not (tmp_path / "a.h5").exists()


def test_the_digest_of_a_folder_tells_any_change(tmp_path):
    path = seed_zarr(tmp_path / "data.zarr")
    before = tree_digest(path)
    chunk = path / "outputs" / "conf" / "0"
    chunk.rename(chunk.with_name("1"))
    assert tree_digest(path) != before
    chunk.with_name("1").rename(chunk)
    assert tree_digest(path) == before
    data = bytearray(chunk.read_bytes())
    data[-1] ^= 1
    chunk.write_bytes(data)
    assert tree_digest(path) != before


def test_a_library_gets_one_sentence_too(tmp_path):
    path = MAKERS["seed-benchmark"](tmp_path)
    trace = open_paths(Asked(paths=(path,)))
    path.unlink()
    with pytest.raises(SourceError, match="changed while it was read"):
        list(trace.blocks("attention/layer_0"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pair/layer_00", "pair/layer_0"),
        ("layer_010/x", "layer_10/x"),
        ("a/layer_007", "a/layer_7"),
        ("recycle/step_01/x", "recycle/step_1/x"),
        ("x/player_007", "x/player_007"),
        ("x/layer_0", "x/layer_0"),
    ],
)
def test_padding_is_taken_off_layers_and_steps_alone(name, expected):
    assert unpadded(name) == expected


def test_an_npz_of_another_program_inflates_up_to_a_limit(tmp_path, capsys, monkeypatch):
    path = tmp_path / "msa_row_attn_layer0.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file, file.open("attn.npy", "w") as member:
        np.lib.format.write_array(member, np.zeros((2, 64, 64), np.float32))
    monkeypatch.setattr(limits, "_INFLATED", 1 << 10)  # it is streamed, so that its ratio decides
    assert main(["convert", str(path), str(tmp_path / "b.raw")]) == 1
    said = capsys.readouterr().err
    assert "attn.npy inflates to" in said and str(path) in said and "--max-inflated" in said
    assert main(["convert", str(path), str(tmp_path / "b.raw"), "--max-inflated", "1MiB"]) == 0
