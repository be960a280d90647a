"""Nothing that a file or a name says reaches the terminal as more than text."""

from __future__ import annotations

import numpy as np
import pytest

from harness.cli import main, terminal
from harness.errors import escaped

HOSTILE = "a\x1b[31m\x9b1m\r\nb\x07\u202e\u2066\u200b\x7f\udcff"
SHOWN = r"a\x1b[31m\x9b1m\r\nb\x07\u202e\u2066\u200b\x7f\udcff"


@pytest.mark.parametrize("text", ["plain", "Å²  [bold]x[/bold] naïve – ×", r"C:\x1b", ""])
def test_what_can_be_printed_is_shown_as_it_is(text, capsys):
    assert escaped(text) == text
    terminal.say(text)
    assert capsys.readouterr().out == f"{text}\n"


def test_lines_and_tables_show_escapes(capsys):
    terminal.say(HOSTILE)
    assert capsys.readouterr().out == f"{SHOWN}\n"
    table = terminal.table(f"title {HOSTILE}", f"heading {HOSTILE}")
    table.add_row(f"cell {HOSTILE}")
    terminal.console().print(table, markup=False)
    out = capsys.readouterr().out
    assert all(f"{part} {SHOWN}" in out for part in ("title", "heading", "cell"))
    assert all(c.isprintable() for c in out.replace("\n", ""))


def test_progress_shows_escapes(capsys, monkeypatch):
    monkeypatch.setattr(terminal, "_PLAIN_EVERY", 0.0)
    with terminal.progress(quiet=False) as progress:
        progress.total(2)
        progress.step(HOSTILE)
    assert SHOWN in capsys.readouterr().err


def test_what_failed_is_said_with_escapes(capsys):
    terminal.complain(HOSTILE)
    assert capsys.readouterr().err == f"harness: {SHOWN}\n"


def test_a_hostile_name_of_a_file_stays_in_its_line(tmp_path, capsys):
    name = "x\x1b[2J\nok: every byte is as it was written.npz"
    np.savez(tmp_path / name, a=np.array(["text alone"]))
    for command in ("inspect", "verify", "convert"):
        more = [str(tmp_path / "y.raw")] if command == "convert" else []
        assert main([command, str(tmp_path / name), *more]) != 0
        said = "".join(capsys.readouterr())
        assert said.count("\n") == 1 and "\x1b" not in said and r"x\x1b[2J\nok" in said
    assert main(["inspect", str(tmp_path / "none\x1b")]) == 2
    assert r"none\x1b" in capsys.readouterr().err


def test_an_error_of_the_system_is_said_with_escapes(tmp_path, capsys, monkeypatch):
    def fails(path):
        raise PermissionError(13, "Permission denied", "a\x1bb")

    monkeypatch.setattr("harness.formats.opening.check_tree", fails)
    (tmp_path / "x.npz").write_bytes(b"PK\x03\x04")
    assert main(["verify", str(tmp_path / "x.npz")]) == 1
    assert capsys.readouterr().err == "harness: a\\x1bb: Permission denied.\n"
