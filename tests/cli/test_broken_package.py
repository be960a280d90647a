"""A package that cannot be imported stops what needs it, in one sentence, and nothing else."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness import registry
from harness.cli import main

pytestmark = pytest.mark.slow

REASON = "numcodecs raised ValueError: invalid literal for int() with base 10: 'post0'."
HEAVY = ("numpy", "pandas", "matplotlib", "zarr", "h5py", "numcodecs", "jinja2")


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """Return a folder for PYTHONPATH in which numcodecs raises what a zfpy of another version makes it raise."""
    package = tmp_path / "path" / "numcodecs"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("int('post0')\n")
    return package.parent


COMMANDS = """if True:
    import contextlib, io, json, sys
    from harness.cli import main
    said = []
    for words in json.loads(sys.argv[1]):
        out, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
            try:
                code = main(words)
            except SystemExit as ended:
                code = ended.code
        said.append((code, out.getvalue(), errors.getvalue()))
    print(json.dumps(said))
"""


def run(broken: Path, *commands: Sequence[str | Path]) -> list[tuple[int, str, str]]:
    """Run commands one after the other in one new process, and return of each its code and what it printed."""
    words = json.dumps([[*map(str, command)] for command in commands])
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, words],
        env={**os.environ, "PYTHONPATH": str(broken)}, capture_output=True, text=True,
    )  # fmt: skip
    assert "Traceback" not in done.stdout + done.stderr
    return [tuple(said) for said in json.loads(done.stdout)]


def test_list_answers_and_its_check_names_what_fails(broken):
    listed, checked = run(broken, ["list", "formats"], ["list", "formats", "--check"])
    assert listed[0] == 0 and "Zarr through zarr-python, one file per chunk" in listed[1]
    code, out, _ = checked
    assert code == 1 and f"The format 'zarr' cannot be imported: {REASON}" in " ".join(out.split())
    assert "ready; " in next(line for line in out.splitlines() if " npz " in line)


def test_an_extension_that_cannot_be_imported_is_said_and_stops_nothing(tmp_path):
    (tmp_path / "mine.py").write_text("raise RuntimeError('built for another machine')\n")
    about = tmp_path / "mine-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Name: mine\nVersion: 1\n")
    groups = ("modes", "importers", "commands", "formats", "sections", "executors", "measurements")
    (about / "entry_points.txt").write_text("".join(f"[harness.{group}]\nmine = mine:it\n" for group in groups))
    archive = tmp_path / "a.npz"
    converted, *others, mine = run(
        tmp_path,
        ["convert", "synthetic:layers=1,n_res=16", archive],
        ["--help"],
        ["list"],
        ["inspect", archive],
        ["mine"],
    )
    code, out, said = converted
    reason = "cannot be imported: mine raised RuntimeError: built for another machine."
    assert (code, said) == (0, f"Left out: The mode 'mine' {reason}\n") and "verified bit for bit" in out
    assert [code for code, *_ in others] == [0, 0, 0]
    assert mine[::2] == (2, f"harness: The command 'mine' {reason}\n")


def test_other_formats_are_converted_and_the_broken_one_is_named(broken, tmp_path):
    first, second = tmp_path / "a.npz", tmp_path / "b.h5"
    converted = [["convert", "synthetic:layers=1,n_res=16", first], ["convert", first, second]]
    refused = [["convert", first, tmp_path / "c.zarr"], ["convert", first, tmp_path / "c.x", "--format", "zarr"]]
    found = run(broken, *converted, ["inspect", second], ["verify", second], *refused)
    assert [code for code, *_ in found[:4]] == [0, 0, 0, 0]
    for code, _, said in found[4:]:
        assert (code, said) == (2, f"harness: The format 'zarr' cannot be imported: {REASON}\n")


def test_an_archive_of_the_broken_format_is_not_taken_for_something_else(broken, tmp_path):
    archive = tmp_path / "a.zarr"
    assert main(["convert", "synthetic:layers=1,n_res=16", str(archive)]) == 0
    ((code, _, said),) = run(broken, ["inspect", archive])
    assert code == 1 and said.endswith("('harness list --check'): zarr, zarr-slim, zarr-zip.\n")


def test_a_run_leaves_it_out_unless_it_was_asked_for(broken, tmp_path):
    quick = ("run", "--preset", "quick", "--readers", "stock", "--suites", "size", "--sizes", "16")
    measured, asked = run(
        broken, [*quick, "--out", tmp_path / "run"], [*quick, "--formats", "npz,zarr", "--out", tmp_path / "asked"]
    )
    code, out, _ = measured
    assert code == 0 and f"Left out: The format 'zarr' cannot be imported: {REASON}\n" in out
    with (tmp_path / "run" / "summary.csv").open(newline="") as file:
        assert {"npz", "hdf5"} == {row["format"] for row in csv.DictReader(file)} - {"raw"}
    assert asked[::2] == (2, f"harness: The format 'zarr' cannot be imported: {REASON}\n")
    assert not (tmp_path / "asked").exists()


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["list"]], ids=" ".join)
def test_what_needs_no_library_imports_none(arguments):
    code = f"""if True:
        import sys
        from harness.cli import main
        try:
            main({arguments})
        except SystemExit:
            pass
        print([name for name in {HEAVY} if name in sys.modules])
    """
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "[]"


@pytest.mark.parametrize("group", ["formats", "suites", "traces", "importers", "models"])
def test_a_description_is_read_from_the_source_as_the_plugin_has_it(group):
    for name in registry.names(group):
        assert registry.stated(group, name, "description") == registry.load(group, name).description != ""


def test_a_command_whose_own_libraries_are_broken_says_so(tmp_path):
    (tmp_path / "pandas.py").write_text("raise RuntimeError('built for another machine')\n")
    ((code, _, said),) = run(tmp_path, ["report", tmp_path])
    reason = "pandas raised RuntimeError: built for another machine."
    assert (code, said) == (2, f"harness: What the command 'report' needs cannot be imported: {reason}\n")
