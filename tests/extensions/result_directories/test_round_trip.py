"""Slimming loses nothing: every byte comes back, every array is read bit for bit; doing it twice changes nothing."""

from __future__ import annotations

import pickle
import shutil

import numpy as np
import pytest

from benchmarks.directories import MODELS, af2, af3, digests, openfold3
from harness.cli import main
from harness.extensions.result_directories import container, reading
from harness.extensions.result_directories.manifest import NAME, load_manifest
from harness.extensions.result_directories.restoring import unslim
from harness.extensions.result_directories.slimming import slim


@pytest.mark.parametrize("make", [af2, af3, openfold3])
@pytest.mark.parametrize("plain", ["best", "none"])
def test_every_byte_comes_back(tmp_path, make, plain):
    folder = make(tmp_path / "job")
    before, size = digests(folder), sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    stamps = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    done = slim(folder, "slim", plain=plain)
    assert not done.problems and done.changed
    assert done.before == size and done.after < size
    after = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert done.after == after  # with its manifest
    back = unslim(folder)
    assert not back.problems and back.changed == done.changed
    assert digests(folder) == before
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps


@pytest.mark.parametrize("make", [af2, af3, openfold3])
@pytest.mark.parametrize("options", [("slim", None), ("minimal", 0.05)])
def test_twice_changes_nothing(tmp_path, make, options):
    folder = make(tmp_path / "job")
    slim(folder, options[0], bound=options[1])
    before = digests(folder)
    again = slim(folder, options[0], bound=options[1])
    assert again.changed == 0 and not again.problems and digests(folder) == before


@pytest.mark.parametrize("make", [af2, af3, openfold3])
def test_a_dry_run_says_what_a_run_does_and_writes_nothing(tmp_path, make):
    folder = make(tmp_path / "job")
    before = digests(folder)
    told = slim(folder, "slim", dry_run=True)
    assert digests(folder) == before
    assert told == slim(folder, "slim")


def test_every_array_is_read_bit_for_bit_from_slim_alone(tmp_path):
    folder = af2(tmp_path / "job")
    plain = {model: pickle.loads((folder / f"result_{model}.pkl").read_bytes()) for model in MODELS}
    slim(folder, "slim")
    assert not list(folder.glob("*.pkl"))
    for model in MODELS:
        same(plain[model], container.content(reading.read_file(folder, f"result_{model}.pkl")))


def same(expected, found):
    if isinstance(expected, dict):
        assert expected.keys() == found.keys()
        for key, value in expected.items():
            same(value, found[key])
    elif isinstance(expected, (np.ndarray, np.generic)):
        assert (expected.dtype, expected.shape) == (found.dtype, found.shape)
        assert expected.tobytes() == found.tobytes()
    else:
        assert expected == found


def test_a_manifest_says_where_everything_is(tmp_path):
    folder = af3(tmp_path / "job")
    before = digests(folder)
    slim(folder, "slim")
    manifest = load_manifest(folder)
    assert set(manifest.items) == set(before)
    for name, entry in manifest.items.items():
        assert entry.before["sha256"] == before[name] and entry.precision == "bit for bit"
        assert (folder / entry.survives_in).is_file()
    assert manifest.items["job_confidences.json"].fate == "copy"
    assert manifest.items["job_confidences.json"].survives_in == "seed-1_sample-1/confidences.json"
    assert manifest.items["seed-1_sample-1/confidences.json"].fate == "kept"
    assert manifest.items["job_data.json"].fate == "packed"


def test_a_directory_slimmed_otherwise_is_not_slimmed_again(tmp_path, capsys):
    folder = af2(tmp_path / "job")
    slim(folder, "slim")
    assert main(["slim", str(folder), "--mode", "minimal", "--bound", "0.1"]) == 2
    assert "in mode slim; run harness unslim" in capsys.readouterr().err
    assert main(["slim", str(folder), "--plain", "none"]) == 2
    assert "with --plain best" in capsys.readouterr().err


def test_the_commands_say_what_they_did(tmp_path, capsys):
    folder = af2(tmp_path / "job")
    (folder / "notes.txt").write_text("mine")
    assert main(["slim", str(folder), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "Would change 3 of 18 files" in said and "Tools need" not in said.partition("With --plain none")[0]
    assert main(["slim", str(folder)]) == 0
    assert "Changed 3 of 18 files" in capsys.readouterr().out
    assert main(["slim", str(folder), "--quiet"]) == 0
    assert "Nothing to change in 18 files" in capsys.readouterr().out
    assert main(["unslim", str(folder)]) == 0
    assert "Restored 3 files, byte for byte." in capsys.readouterr().out
    assert not (folder / NAME).exists()


@pytest.mark.parametrize(
    ("make", "plain", "named"),
    [
        (af2, "best", ["features.pkl"]),
        (af2, "none", ["features.pkl", *(f"pae_{model}.json" for model in MODELS)]),
        (af3, "best", ["job_confidences.json", "job_data.json"]),
        (openfold3, "best", ["query_seed_42_sample_2_confidences.json"]),
    ],
)
def test_the_closing_line_names_what_needs_unslim(tmp_path, capsys, make, plain, named):
    folder = make(tmp_path / "job")
    if make is af2:
        (folder / "features.pkl").write_bytes(pickle.dumps({"aatype": np.zeros((400, 21)), "msa": np.zeros((9, 400))}))
    for _ in range(2):  # a second run names them from the manifest
        assert main(["slim", str(folder), "--plain", plain, "--quiet"]) == 0
        said = capsys.readouterr().out
        assert f"Tools need harness unslim {folder} first for {', '.join(named)}" in said
        assert len(said.splitlines()) == 1


def test_a_dry_run_counts_all_files_names_large_ones_and_states_the_stronger_option(tmp_path, capsys):
    folder = af3(tmp_path / "job")
    (folder / "seed-1_embeddings").mkdir()
    (folder / "seed-1_embeddings" / "embeddings.npz").write_bytes(bytes(90_000))
    (folder / "job_confidences.json.zst").write_bytes(bytes(20_000))
    (folder / "a\x1b[31mb.bin").write_bytes(bytes(15_000))
    (folder / "terms.md").write_text("mine")
    before = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert main(["slim", str(folder), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert f"Would change 4 of 18 files: {before:,} bytes" in said
    assert (
        "Large, and not touched: seed-1_embeddings/embeddings.npz (90,000 bytes), "
        "job_confidences.json.zst (20,000 bytes), a\\x1b[31mb.bin (15,000 bytes)." in said
    )
    stronger = slim(folder, "slim", plain="none", dry_run=True)
    assert f"With --plain none: {before:,} bytes, {stronger.after:,} after" in said
    assert "terms.md" in said and "\x1b" not in said and not (folder / NAME).exists()


def test_where_nothing_is_gained_it_says_so_and_writes_nothing(tmp_path, capsys):
    folder = af2(tmp_path / "job")
    for path in folder.glob("*.pkl"):
        path.unlink()
    before = digests(folder)
    for option in (["--dry-run"], []):
        assert main(["slim", str(folder), "--quiet", *option]) == 0
        assert "Nothing is gained." in capsys.readouterr().out
        assert digests(folder) == before
    folder = openfold3(tmp_path / "short", 6)
    assert main(["slim", str(folder), "--quiet", "--dry-run"]) == 0
    assert "Nothing is gained." in capsys.readouterr().out  # the manifest takes more


@pytest.mark.parametrize(
    ("relative", "lossless", "all_of_it"),
    [
        ("alphapulldown_af2/P0DPR3_and_P0DPR3", 5, 5),
        ("alphapulldown_af2/TEST_and_TEST_and_TEST", 0, 5),
        ("af3_pdl1", 4, 5),
        ("openfold3", 1, 2),
    ],
)
def test_real_directories_come_back(tmp_path, real_data, relative, lossless, all_of_it):
    if not (real_data / relative).is_dir():
        pytest.skip(f"HARNESS_DATA has no {relative}; made-up directories are tested the same way")
    folder = tmp_path / "job"
    shutil.copytree(real_data / relative, folder, copy_function=shutil.copyfile)
    for path in folder.rglob("."):
        path.chmod(0o755)
    before = digests(folder)
    results = {path.name: pickle.loads(path.read_bytes()) for path in folder.glob("*.pkl")}
    for plain, changed in (("best", lossless), ("none", all_of_it)):
        done = slim(folder, "slim", plain=plain)
        assert not done.problems and done.changed == changed and (done.after < done.before) == (changed > 0)
        for name, content in results.items():
            same(content, container.content(reading.read_file(folder, name)))
        if changed:
            unslim(folder)
        assert digests(folder) == before
