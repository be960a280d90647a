"""The command writes what was asked for, or says in one sentence why not and leaves nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from harness.cli import main
from harness.formats.archive import open_archive
from tests.conftest import plain

SEQUENCE = "ACDEFGH"
FAKE = "tests.extensions.capture.fake"
FORMATS = {"npz": "a.npz", "hdf5": "a.h5", "zarr": "a.zarr", "zarr-slim": "a.slim.zarr"}


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What every capture of the fake model needs; the current folder is empty but for its inputs."""
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    Path("in/q.fasta").write_text(f">q\n{SEQUENCE}\n")
    Path("in/q.a3m").write_text(f">q\n{SEQUENCE}\n>other\nACDEF--\n")
    return ["capture", "--model", f"{FAKE}:model", "--fasta", "in/q.fasta", "--recycles", "1"]


def to(*names: str) -> list[str]:
    return [word for name in names for word in ("--to", f"{name}:{FORMATS[name]}")]


def test_one_run_fills_all_formats(options, capsys):
    assert main([*options, "--alignments", "in", "--blocks", "2", *to(*FORMATS), "--triangle-residue", "mean,3"]) == 0
    out = plain(capsys.readouterr().out)
    assert out.count("(untrained)") == 5 and out.count("bit for bit what the model gave") == 4
    assert "7 residues, 2 of 2 blocks, 2 passes" in out
    digests = []
    for name in FORMATS.values():
        with open_archive(Path(name)) as (_, _, manifest):
            digests.append(dict(manifest.digests))
            assert (
                manifest.provenance.trained is False and "blocks 2, layers all, recycles 1" in manifest.provenance.note
            )
            assert manifest["inputs/msa"].shape == (2, 7)
            assert manifest["attention/triangle_residue_3/layer_1"].shape == (2, 7, 7)
    assert all(found == digests[0] for found in digests)
    assert main(["inspect", "a.npz"]) == 0
    assert "UNTRAINED" in capsys.readouterr().out


def test_layers_and_kinds_can_be_chosen(options, capsys):
    assert main([*options, "--quiet", "--layers", "0,2-2", "--attention", "once,row", *to("npz")]) == 0
    assert capsys.readouterr().out == ""
    with open_archive(Path("a.npz")) as (_, _, manifest):
        names = {path for path in manifest.tensor_shapes if path.startswith("attention/")}
    assert names == {f"attention/{kind}/layer_{k}" for kind in ("once", "row") for k in (0, 2)}
    assert main([*options, "--quiet", "--attention", "none", *to("hdf5")]) == 0
    with open_archive(Path("a.h5")) as (_, _, manifest):
        assert not any("attention" in path for path in manifest.tensor_shapes)


REFUSED = {
    "unknown kind": (["--attention", "raw"], "no kind of attention in this model named 'raw'; did you mean 'row'"),
    "layer": (["--layers", "1-3"], "there is no block 3; this model has blocks 0 to 2"),
    "layers": (["--layers", "3-1"], "--layers takes numbers and ranges such as 0,4-7, got '3-1'"),
    "residue": (["--triangle-residue", "7"], "there is no residue 7; this sequence has residues 0 to 6"),
    "residues": (["--triangle-residue", "-1"], "--triangle-residue takes residues counted from 0, mean or all"),
    "blocks": (["--blocks", "0"], "--blocks takes a positive integer, got '0'"),
    "recycles": (["--recycles", "-1"], "--recycles takes a non-negative integer"),
    "buffer": (["--buffer", "0"], "--buffer takes a positive integer"),
    "no colon": (["--to", "b.h5"], "--to takes FORMAT:PATH, such as hdf5:trace.h5, got 'b.h5'"),
    "format": (["--to", "hdf:b.h5"], "no format named 'hdf'; did you mean 'hdf5'"),
    "twice": (["--to", "npz:x/../b", "--to", "hdf5:b"], "--to names b twice"),
    "folder": (["--to", "npz:absent/b.npz"], "The folder absent does not exist; create it first"),
    "exists": (["--to", "npz:in"], "in exists already; remove it or name another destination"),
    "profile": (["--profile", "tune"], "no profile named 'tune'; did you mean 'tuned'"),
    "model": (["--model", "openfold3-evoforme"], "did you mean 'openfold3-evoformer'"),
    "no model": (["--model", f"{FAKE}:NAMES"], "is not a model"),
    "no library": (
        ["--model", f"{FAKE}:lacking"],
        "needs the package 'nothing': pip install nothing",
    ),
    "no source": (["--model", f"{FAKE}:sourced"], "name it with --source DIR"),
    "source": (["--source", "in"], "is an installed package: leave out --source"),
    "alignment": (["--alignments", "x"], "its first row has 3 residues, the sequence 7"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_one_sentence_and_leaves_nothing(options, capsys, case):
    extra, said = REFUSED[case]
    Path("x").mkdir()
    Path("x/a.a3m").write_text(">q\nACD\n")
    before = sorted(Path().rglob("*"))
    assert main([*options, *([] if "--to" in extra else to("hdf5")), *extra]) == 2
    error = capsys.readouterr().err
    assert said in plain(error) and len(error.splitlines()) == 1 and "Traceback" not in error
    assert sorted(Path().rglob("*")) == before


def test_a_missing_library_is_named_with_the_commands_that_install_it(options, capsys):
    if find_spec("torch") is not None and find_spec("openfold3") is not None:
        pytest.skip("torch and openfold3 are installed here; in .venv this runs without them")
    assert main([*options, "--model", "openfold3-evoformer", *to("npz")]) == 2
    said = plain(capsys.readouterr().err)
    assert (
        "needs torch" in said and "pip install torch==2.13.0, then pip install 'trace-format-harness[capture]'" in said
    )


def test_ctrl_c_ends_cleanly_and_nothing_looks_whole(options):
    command = [
        sys.executable,
        "-m",
        "harness",
        *options,
        "--model",
        f"{FAKE}:waiting",
        *to(*FORMATS),
    ]
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not Path("waiting").exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130 and errors.strip().endswith("harness: Interrupted.") and "Traceback" not in errors
    left = {path.name for path in Path().iterdir()} - {"in", "waiting"}
    assert all(name.endswith(".incomplete") and name in errors for name in left)
