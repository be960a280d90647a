"""A file appears whole or not at all."""

from __future__ import annotations

import os

import pytest

from harness import files


def test_a_file_gets_its_name_when_it_is_whole(tmp_path):
    path = tmp_path / "a"
    path.write_text("before")
    with files.appearing(path) as partial:
        partial.write_text("after")
        assert path.read_text() == "before" and partial.parent == tmp_path and partial.name.startswith(".")
    assert path.read_text() == "after" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_what_fails_leaves_nothing_and_what_was_there(tmp_path, error):
    path = tmp_path / "a"
    path.write_text("before")
    with pytest.raises(error), files.appearing(path) as partial:
        partial.write_text("half")
        raise error
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("durable", [True, False])
def test_the_content_is_on_disk_before_the_name_where_that_is_asked_for(tmp_path, monkeypatch, durable):
    done = []
    replace = type(tmp_path).replace
    monkeypatch.setattr(files, "sync", lambda path: done.append(path.name))
    monkeypatch.setattr(type(tmp_path), "replace", lambda path, to: (done.append("replace"), replace(path, to)))
    with files.appearing(tmp_path / "a", ending=".mine", durable=durable) as partial:
        partial.write_bytes(b"content")
    assert done == ([f".a.{os.getpid()}.mine", "replace", tmp_path.name] if durable else ["replace"])


def test_line_ends_and_letters_stay_as_they_are(tmp_path):
    files.write_text(tmp_path / "a", "ä\r\nb\n")
    assert (tmp_path / "a").read_bytes() == "ä\r\nb\n".encode()
