"""Every command explains itself in 80 columns, with the default of every option and with examples that parse."""

from __future__ import annotations

import argparse
import json
import re
import shlex

import pytest

from harness import registry
from harness.cli import _COMMANDS, _parser, main, terminal
from harness.formats.archive import write_archive
from harness.formats.base import load_format
from harness.trace.sources import open_trace
from tests.conftest import plain

NAMES = sorted({*_COMMANDS, *registry.names("commands")})
CALLED = [[], *([name] for name in NAMES)]
CALLED += [["history", what] for what in ("add", "show") if "history" in NAMES]


@pytest.mark.parametrize("words", CALLED, ids=lambda words: " ".join(words) or "harness")
def test_help_fits_states_defaults_and_has_two_examples_that_parse(words, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as ended:
        main([*words, "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    usage, _, rest = text.partition("\n\n")
    for block in re.split(r"\n(?=  -)", rest)[1:]:
        if takes_a_value := re.match(r"  (?:-\w, )?(--[\w-]+) \S", block):
            stated = "default" in block or "repeatable" in block or takes_a_value[1] in usage
            assert stated, block
    typed = [shlex.split(line, comments=True) for line in text.partition("\nexamples:\n")[2].splitlines()]
    known = [line[1:] for line in typed if line[:1] == ["harness"] and line[1] in NAMES]
    assert len(known) >= 2
    for line in known:
        assert line[: len(words)] == words or not words
        arguments = _parser().parse_args(line, argparse.Namespace(debug=False))
        assert callable(arguments.command)


def test_without_a_command_it_says_what_to_do_first(capsys):
    assert main([]) == 2
    out, said = capsys.readouterr()
    first = [line.split()[1] for line in said.splitlines() if line.startswith("  harness ")]
    assert out == "" and first == ["run", "run", "show"] and len(said.splitlines()) == 5


@pytest.mark.parametrize(
    ("words", "names"),
    [([], registry.names("formats")), (["--check"], registry.names("suites")), (["readers"], ["npz", "hdf5", "zarr"])],
)
def test_a_list_fits_and_no_name_in_it_is_cut(words, names, capsys):
    assert main(["list", *words]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80 and "…" not in out
    labels = {line.split()[0] for line in out.splitlines() if line.strip()}
    assert set(names) <= labels


def test_a_table_in_a_narrow_terminal_wraps_and_cuts_nothing(capsys):
    table, names = (
        terminal.table("times", "access"),
        ("parallel_access/windows_of_pair", "parallel_access/windows_of_heads"),
    )
    for name in names:
        table.add_row(name)
    terminal.console(plain_width=24).print(table, markup=False)
    out = "".join(line.strip() for line in capsys.readouterr().out.splitlines())
    assert all(name in out for name in names)


def test_json_is_all_that_is_printed_where_it_is_asked_for(tmp_path, capsys):
    archive = tmp_path / "a.h5"
    write_archive(open_trace("synthetic:layers=1,heads=2,hidden_dim=8,pair_dim=4", 16), load_format("hdf5"), archive)

    def printed(*words: str, code: int = 0):
        assert main([*words, "--json"]) == code
        return json.loads(capsys.readouterr().out)

    assert {row["name"] for row in printed("list", "formats")["formats"]} == set(registry.names("formats"))
    assert {row["name"]: row["missing"] for row in printed("list", "suites", "--check")["suites"]}["size"] == ""
    found = printed("inspect", str(archive))
    assert found["format"] == "hdf5" and found["size_bytes"] == archive.stat().st_size
    assert {tensor["path"] for tensor in found["manifest"]["tensors"]} == set(found["manifest"]["digests"])
    assert printed("verify", str(archive)) == [
        {"archive": str(archive), "sound": True, "problems": [], "incomplete": None}
    ]
    assert main(["verify", "--json", "--quiet", str(archive)]) == 2
    assert "no option" in plain(capsys.readouterr().err)


def test_completion_says_what_it_needs(capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["--completion", "bash"]) == 2
    assert "pip install 'trace-format-harness[completion]'" in capsys.readouterr().err


def test_completion_knows_every_command_and_its_options(capsys):
    pytest.importorskip("shtab", reason="shtab is an extra")
    with pytest.raises(SystemExit) as ended:
        main(["--completion", "bash"])
    out = capsys.readouterr().out
    assert ended.value.code == 0 and "--decoded-cache" in out and all(name in out for name in NAMES)
