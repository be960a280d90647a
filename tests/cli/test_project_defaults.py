"""A project's usual run: numbers, names and maps from its file, never a module or a path, and for few commands only."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest

from harness import registry
from harness.cli import _parser, main
from harness.cli.project_defaults import fill_in, usual_run
from harness.formats.archive import write_archive
from harness.formats.base import load_format
from harness.trace.sources import open_trace

USUAL = '[run]\nformats = ["hdf5", "npz"]\nrounds = 12\ncache = "both"\n[map]\n"waves*" = "skip"\n'
SHARED = USUAL.replace("[", "[tool.trace-format-harness.", 1).replace("[map]", "[tool.trace-format-harness.map]")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str) -> argparse.Namespace:
    return _parser().parse_args(["run", *words], argparse.Namespace(debug=False))


@pytest.mark.parametrize(("name", "text"), [("harness.toml", USUAL), ("pyproject.toml", SHARED)])
def test_a_file_gives_what_was_not_typed_and_is_named(here, name, text):
    (here / name).write_text(text)
    arguments = run("--rounds", "3")
    assert fill_in(arguments, arguments.types) == f"From {name}: --formats hdf5,npz --cache both."
    assert (arguments.formats, arguments.rounds, arguments.cache) == ("hdf5,npz", 3, ("warm", "cold"))
    assert usual_run().rules == ("waves*=skip",)


def test_a_run_begins_with_it_and_one_that_is_continued_does_not(here, capsys):
    (here / "harness.toml").write_text('[run]\nformats = "zar"\n')
    assert main(["run", "--out", "new"]) == 2
    said = capsys.readouterr()
    assert "From harness.toml: --formats zar." in said.out and "no format named 'zar'" in said.err
    assert main(["run", "--resume", "--out", "old"]) == 1
    assert "no run at old" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[run]\nformats = ["evil:Format"]\n', "type --formats evil:Format if you trust it"),
        ('[run]\nsuites = "evil:suite"\n', "numbers and names of installed plug-ins"),
        ('[run]\nout = "/tmp/elsewhere"\n', "no option for [run] in harness.toml named 'out'"),
        ('[run]\ntrace = "file:/etc/passwd"\n', "named 'trace'"),
        ('[run]\nprofile-file = "../theirs.toml"\n', "named 'profile-file'"),
        ('[run]\nstore = "s3://theirs/x"\n', "named 'store'"),
        ("[run]\nrounds = 0\n", "[run] in harness.toml: --rounds takes a positive integer, got '0'"),
        ("[run]\nrounds = 1.5\n", "$.run"),
        ("[tune]\nrounds = 3\n", "at $.tune expected no such field"),
        ("[map]\nx = 3\n", "$.map"),
        ("run\n", "harness.toml: is not TOML"),
    ],
)
def test_what_a_file_may_not_give_is_refused_in_one_sentence(here, capsys, text, said):
    (here / "harness.toml").write_text(text)
    assert main(["run", "--out", "new"]) == 2
    error = capsys.readouterr().err
    assert said in error and len(error.splitlines()) == 1 and not (here / "new").exists()


def test_a_rule_of_a_file_names_no_other_file(here, capsys):
    np.savez("mine.npz", a=np.ones((2, 3), np.float32))
    np.savez("secret.npz", b=np.ones(3, np.float32))
    (here / "harness.toml").write_text('[map]\n"*=array::secret.npz::map=*" = "array"\n')
    assert main(["convert", "mine.npz", "out.h5"]) == 2
    assert "has '::' in it" in capsys.readouterr().err and not (here / "out.h5").exists()


def test_rules_of_a_file_are_not_for_archives(here, capsys):
    trace = open_trace("synthetic:layers=1,heads=2,hidden_dim=8,pair_dim=4", 16)
    write_archive(trace, load_format("npz"), here / "a.npz")
    (here / "harness.toml").write_text('[map]\n"mine*" = "attention:head,query,key"\n')
    assert main(["convert", "a.npz", "b.h5"]) == 0, capsys.readouterr().err


def test_two_files_are_refused_and_one_of_other_tools_is_left_alone(here, capsys):
    (here / "pyproject.toml").write_text('[project]\nname = "trace-format-harness"\n')
    assert usual_run().where == ""
    (here / "pyproject.toml").write_text("[broken\n")
    assert usual_run().where == ""
    (here / "pyproject.toml").write_text(SHARED)
    (here / "harness.toml").write_text(USUAL)
    assert main(["run", "--out", "new"]) == 2
    assert "keep one of them" in capsys.readouterr().err


def test_commands_on_what_may_be_a_strangers_do_not_look_for_it(here, capsys):
    (here / "harness.toml").write_text("not TOML at all")
    trace = open_trace("synthetic:layers=1,heads=2,hidden_dim=8,pair_dim=4", 16)
    write_archive(trace, load_format("npz"), here / "a.npz")
    assert [main([command, "a.npz"]) for command in ("inspect", "verify")] == [0, 0]
    assert main(["list"]) == 0
    capsys.readouterr()
    for command in ("report", "plot", "bundle", "check", *({"unslim"} & set(registry.names("commands")))):
        assert main([command, "none"]) != 0
        said = capsys.readouterr()
        assert "none" in said.err and "harness.toml" not in said.out + said.err
