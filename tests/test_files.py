"""A file appears whole or not at all; what a stranger gives is a regular file, and is read up to a limit."""

from __future__ import annotations

import argparse
import gzip
import lzma
import os
import socket
import zlib

import pytest

from harness import files, limits
from harness.cli.options import add_max_inflated, max_inflated
from harness.cli.running import add_run
from harness.errors import HarnessError, UsageError


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


def _deflate(data):
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


_PACKERS = {"xz": lzma.compress, "gzip": gzip.compress, "deflate": _deflate}
_CONTENTS = {
    "empty": b"",
    "short": b"a",
    "zeros": bytes((1 << 20) + 1),
    "noise": os.urandom(1 << 18),
    "mixed": os.urandom(1 << 17) + bytes(3 << 20),
}


def _pipe(path):
    os.mkfifo(path)
    return path


def _socket(path):
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
    return path


def _link(to):
    def make(path):
        path.symlink_to(to)
        return path

    return make


_SPECIAL = {"pipe": _pipe, "socket": _socket, "device": _link("/dev/zero")}


@pytest.mark.parametrize("make", _SPECIAL.values(), ids=_SPECIAL)
@pytest.mark.parametrize("look", [files.check_regular, files.open_regular, files.read_bytes, files.check_tree])
def test_what_is_no_regular_file_is_refused_and_not_waited_for(tmp_path, monkeypatch, make, look):
    monkeypatch.chdir(tmp_path)  # a socket's name may not be long
    with pytest.raises(HarnessError, match="a regular file is expected there"):
        look(make(tmp_path.__class__("it")))


@pytest.mark.parametrize("make", _SPECIAL.values(), ids=_SPECIAL)
def test_a_folder_is_searched_at_every_depth(tmp_path, monkeypatch, make):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "file").write_bytes(b"")
    (tmp_path / "a" / "link").symlink_to("file")
    (tmp_path / "a" / "lost").symlink_to("nowhere")
    (tmp_path / "a" / "round").symlink_to(tmp_path)
    files.check_tree(tmp_path)
    monkeypatch.chdir(tmp_path)
    make(tmp_path.__class__("a/b/it"))
    with pytest.raises(HarnessError, match="a/b/it is a"):
        files.check_tree(tmp_path)


def test_a_link_to_a_regular_file_is_followed(tmp_path):
    (tmp_path / "a").write_bytes(b"content")
    (tmp_path / "b").symlink_to("a")
    assert files.read_bytes(tmp_path / "b") == b"content"
    with files.open_regular(tmp_path / "b") as file:
        assert file.read() == b"content"


def test_a_file_is_read_up_to_a_limit(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    assert files.read_bytes(tmp_path / "a", 5) == b"12345"
    with pytest.raises(limits.LimitError, match="larger than 4 bytes"):
        files.read_bytes(tmp_path / "a", 4)


@pytest.mark.parametrize("content", _CONTENTS.values(), ids=_CONTENTS)
@pytest.mark.parametrize("kind", _PACKERS)
def test_streams_inflate_up_to_what_is_stated(kind, content):
    packed = _PACKERS[kind](content)
    assert limits.inflate(kind, packed, "it") == limits.inflate(kind, packed, "it", len(content)) == content
    for end in {len(packed) // 2, len(packed) - 1}:
        with pytest.raises(HarnessError, match="it is truncated or damaged"):
            limits.inflate(kind, packed[:end], "it")
    if content:
        with pytest.raises(limits.LimitError, match="stated"):
            limits.inflate(kind, packed, "it", len(content) - 1)


@pytest.mark.parametrize("kind", ["xz", "gzip"])
def test_several_streams_and_what_fills_between_them_are_one_file(kind):
    parts = [b"one", os.urandom(1 << 17), b"", b"three"]
    between = bytes(1 << 17)
    assert limits.inflate(kind, between.join(map(_PACKERS[kind], parts)) + between, "it") == b"".join(parts)
    with pytest.raises(HarnessError, match="damaged"):
        limits.inflate(kind, _PACKERS[kind](b"one") + b"more", "it")


def test_a_window_of_gigabytes_is_refused():
    def with_window(code):  # of a block's header, behind the 12 bytes of the stream's
        head = bytes([2, 0, 0x21, 1, code, 0, 0, 0])
        return packed[:12] + head + zlib.crc32(head).to_bytes(4, "little") + packed[24:]

    packed = lzma.compress(b"a")
    assert limits.inflate("xz", with_window(0), "it") == b"a"
    with pytest.raises(HarnessError, match="it is truncated or damaged"):
        limits.inflate("xz", with_window(40), "it")


@pytest.mark.parametrize(
    ("packed", "stated", "limit"),
    [
        (100, None, 128 << 20),
        (2 << 20, None, 200 << 20),
        (1 << 30, None, 4 << 30),
        (1 << 30, 5 << 30, 4 << 30),
        (100, 7, 7),
        (100, -1, 0),
    ],
)
def test_a_small_stream_inflates_to_less(packed, stated, limit):
    assert limits.inflation_limit(packed, stated) == limit


def parsed(text):
    parser = argparse.ArgumentParser()
    add_max_inflated(parser)
    return parser.parse_args(["--max-inflated", text])


@pytest.mark.parametrize(("text", "limit"), [("7", 7), ("8GiB", 8 << 30), ("3 MiB", 3 << 20), ("1TiB", 1 << 40)])
def test_an_option_of_the_command_line_names_a_size(text, limit):
    assert max_inflated(parsed(text)) == limit


@pytest.mark.parametrize("text", ["", "-1", "8GB", "many", "1" * 16])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(UsageError, match="--max-inflated takes a number of bytes"):
        max_inflated(parsed(text))


def test_options_of_a_run_take_sizes_too():
    parser = argparse.ArgumentParser()
    add_run(parser)
    given = parser.parse_args(["--decoded-cache", "64MiB", "--trace-bytes", "2GiB"])
    assert (given.decoded_cache, given.trace_bytes) == (64 << 20, 2 << 30)
