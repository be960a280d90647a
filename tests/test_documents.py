"""Stored documents are decoded into types, within limits, and what does not fit is said in one sentence."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any, Literal, NotRequired, TypedDict

import pytest

from harness import documents
from harness.documents import Count, DocumentError, Figure, decode, decode_toml, read_document
from harness.errors import ArchiveError, HarnessError


@dataclass(frozen=True, kw_only=True)
class Inner:
    n_res: int | None
    seconds: Figure = 0.0


@dataclass(frozen=True, kw_only=True)
class Outer:
    subjects: tuple[Inner, ...]
    kind: Literal["slim", "minimal"] = "slim"
    items: dict[str, Count] | None = None


def test_a_document_becomes_its_type(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"a_version": 1, "subjects": [{"n_res": 3, "seconds": 1}], "items": {"x": 2}}')
    found = read_document(path, Outer, version=("a_version", 1))
    assert found == Outer(subjects=(Inner(n_res=3, seconds=1.0),), items={"x": 2})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"subjects": [{"n_res": 1}, {"n_res": "1"}]}', "at $.subjects[1].n_res expected int | null, got str;"),
        ('{"subjects": [{"n_res": true}]}', "at $.subjects[0].n_res expected int | null, got bool;"),
        ('{"subjects": [{"n_res": 1, "seconds": -1}]}', "at $.subjects[0].seconds expected float >= 0.0;"),
        ('{"subjects": [{"n_res": 1, "seconds": 1e400}]}', "holds 1e400, which is not a finite number;"),
        ('{"subjects": [{"n_res": 1, "seconds": NaN}]}', "holds NaN, which is not a finite number;"),
        ('{"subjects": [{"n_res": %s}]}' % ("9" * 5000), "which does not fit 64 bits;"),
        ('{"subjects": [], "items": {"x": -1}}', "at $.items[...] expected int >= 0;"),
        ('{"subjects": [], "kind": "x\\u001b[31m"}', "at $.kind invalid enum value 'x\\x1b[31m';"),
        ('{"subjects": [], "kind": "x\\ud800"}', "holds 'x\\ud800' where only known words are expected;"),
        ("{}", "at $ expected the field subjects;"),
        ("[]", "at $ expected object, got array;"),
        ('{"subjects": [{"n_res": 1, "n": 1}]}', "at $.subjects[0].n expected no such field;"),
        ('{"subjects": [], "subjects": []}', "has the field subjects more than once in one object;"),
        ('{"subjects": [}', "is not valid JSON at line 1 column 15: expecting value;"),
        ("", "is not valid JSON at line 1 column 1: expecting value;"),
        ('{"subjects": [], "kind": "\udcff"}', "is not UTF-8 text, from byte 26 on;"),
    ],
)
def test_what_does_not_fit_is_named_with_its_place(tmp_path, text, said):
    path = tmp_path / "a.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(DocumentError) as raised:
        read_document(path, Outer)
    message = str(raised.value)
    assert message.startswith(f"{path}: ") and said in message
    assert message.endswith(f"; {documents.MEND}.") and message.isprintable()
    assert raised.value.exit_code == 2


def test_the_version_is_checked_first_and_by_name(tmp_path):
    with pytest.raises(DocumentError, match=r"^a\.json has version 3; this reader knows versions 1 and 2\.$"):
        decode('{"a_version": 3, "subjects": "?"}', Outer, "a.json", version=("a_version", 1, 2))
    with pytest.raises(DocumentError, match=r"this reader knows version 1: make it again\.$"):
        decode('{"a_version": 3}', Outer, "a.json", version=("a_version", 1), other="make it again")
    for text in ("{}", '{"a_version": true}', '{"a_version": 1.0}', "[]"):
        with pytest.raises(DocumentError, match=r"at \$ expected the field a_version with an integer"):
            decode(text, Outer, "a.json", version=("a_version", 1))


@pytest.mark.parametrize("kind", [Any, Outer, dict[str, Any]])
def test_nesting_is_counted_before_anything_is_built(kind):
    deep = documents.MAX_DEPTH
    assert decode("[" * deep + "]" * deep, Any, "a.json")
    for text in ("[" * 100_000, "[" * (deep + 1) + "]" * (deep + 1), '{"a":' * 100_000, '["]",' * (deep + 1)):
        with pytest.raises(DocumentError, match="nested deeper than 64 levels"):
            decode(text, kind, "a.json")


def test_brackets_in_strings_are_not_nesting(monkeypatch):
    monkeypatch.setattr(documents, "_BLOCK", 7)
    value = {"[" * 200 + '\\"': ['"\\', "{" * 200, "\\" * 5 + '"[', 1, [2, {"]": 3}]]}
    assert decode(json.dumps(value), Any, "a.json") == value


def test_values_and_bytes_are_counted(monkeypatch):
    monkeypatch.setattr(documents, "MAX_VALUES", 1000)
    assert len(decode(json.dumps([[]] * 400), Any, "a.json")) == 400
    with pytest.raises(DocumentError, match="more than 1000 values"):
        decode(json.dumps([[]] * 600), Any, "a.json")
    monkeypatch.setattr(documents, "DOCUMENT", 100)
    with pytest.raises(DocumentError, match="is larger than"):
        decode(" " * 101, Any, "a.json")


def test_a_document_that_is_not_there_or_no_file(tmp_path):
    with pytest.raises(HarnessError, match=r"^There is no run at x\.$"):
        read_document(tmp_path / "a.json", Outer, absent="There is no run at x.")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(HarnessError, match="a named pipe"):
        read_document(tmp_path / "fifo", Outer)


class Typed(TypedDict):
    """A type whose values stay plain."""

    a: int
    b: NotRequired[str]


def test_plain_values_stay_plain_and_more_fields_pass_where_they_may():
    assert decode('{"a": 1}', Typed, "a.json") == {"a": 1}
    assert decode('{"a": 1, "c": 2}', Typed, "a.json", extra=True) == {"a": 1}
    with pytest.raises(ArchiveError, match=r"^x: at \$\.c expected no such field\.$"):
        decode('{"a": 1, "c": 2}', Typed, "x", mend="", error=ArchiveError)


def test_names_that_are_no_unicode_are_kept():
    assert decode(json.dumps({"\udcff": 1}), dict[str, int], "a.json") == {"\udcff": 1}
    assert decode('{"\udcff": 1}', dict[str, int], "a.json") == {"\udcff": 1}


def test_toml_is_decoded_by_the_same_rules():
    assert decode_toml(b"a = 1", Typed, "a.toml", mend="mend it", error=HarnessError) == {"a": 1}
    for text, said in [
        (b"a = '1'", "at $.a expected int, got str"),
        (b"a = 1\nc = 1", "at $.c expected no such field"),
        (b"a = ", "is not TOML"),
        (b"a = " + b"[" * 5000, "is not TOML"),
        (b"a" + b".a" * 20000 + b" = 1", "has a line with more than 200 dots"),
        (b"#" * 70000, "is larger than 64 KiB"),
        (b"a = 1979-05-27", "at $.a expected int, got date"),
        (b"\xff", "is not UTF-8 text"),
    ]:
        with pytest.raises(HarnessError) as raised:
            decode_toml(text, Typed, "a.toml", mend="mend it", error=HarnessError)
        assert said in str(raised.value) and str(raised.value).endswith("; mend it.")
