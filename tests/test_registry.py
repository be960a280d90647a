"""Plug-ins are found by name or by module:attribute, and what cannot be used is said with what to do."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from harness import registry
from harness.errors import UsageError, unknown_name
from harness.formats.base import Format, load_format
from harness.formats.raw import RawFormat, RawReader
from harness.trace.sources import find_source, open_trace
from harness.trace.stream import TraceSource
from tests.conftest import allow


@pytest.fixture
def no_h5py(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make the import of h5py fail, also where it was imported before."""
    monkeypatch.setitem(sys.modules, "h5py", None)
    monkeypatch.delitem(sys.modules, "harness.formats.hdf5", raising=False)
    yield


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        ("formats", {"raw", "npz", "hdf5", "zarr", "zarr-slim"}),
        ("suites", {"size", "write", "full_read", "layer_read", "random_access", "parallel_access"}),
        ("traces", {"synthetic", "af2-1ubq", "openfold-1ubq", "vit-mnist", "file"}),
    ],
)
def test_every_group_is_registered_and_loads(group: registry.Group, expected: set[str]) -> None:
    assert expected <= set(registry.names(group))
    for name in expected:
        assert registry.load(group, name).name == name


@pytest.mark.parametrize(
    ("group", "name", "message"),
    [
        ("formats", "zar", "There is no format named 'zar'; did you mean 'zarr'?"),
        ("formats", "zarrslim", "There is no format named 'zarrslim'; did you mean 'zarr-slim'?"),
        ("formats", "HDF5", "There is no format named 'HDF5'; choose one of "),
        ("suites", "ful_read", "There is no suite named 'ful_read'; did you mean 'full_read'?"),
        ("traces", "synthetik", "There is no trace named 'synthetik'; did you mean 'synthetic'?"),
        ("formats", "", "There is no format named ''; choose one of "),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(group: registry.Group, name: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        registry.load(group, name)
    assert str(caught.value).startswith(message)
    if message.endswith("one of "):
        assert all(known in str(caught.value) for known in registry.names(group))


def test_names_that_resemble_none_are_answered_with_all() -> None:
    assert str(unknown_name("format", "qqq", {"b", "a"})) == "There is no format named 'qqq'; choose one of a, b."
    assert unknown_name("format", "qqq", {"b", "a"}).exit_code == 2


def test_a_stranger_is_loaded_by_module_and_attribute() -> None:
    allow("harness.formats.raw:RawFormat")
    assert registry.load("formats", "harness.formats.raw:RawFormat") is RawFormat
    backend = load_format("harness.formats.raw:RawFormat")
    assert isinstance(backend, RawFormat)
    assert load_format("harness.formats.raw:RawFormat") is backend


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("no_such_module:Format", "No module named 'no_such_module'"),
        ("harness.formats.raw:NoSuchBackend", "NoSuchBackend"),
        (":RawFormat", "Empty module name"),
        ("unittest.__main__:X", ""),  # runs a test runner and ends the process
    ],
)
def test_a_stranger_that_cannot_be_imported_is_named(name: str, reason: str) -> None:
    allow(name)
    with pytest.raises(UsageError) as caught:
        registry.load("formats", name)
    assert str(caught.value).startswith(f"The format {name!r} cannot be imported: ")
    assert reason in str(caught.value)


class Unfinished(Format):
    name = "unfinished"


class Unwritable(Format):
    name, description, suffix, readers = "unwritable", "writes nothing", ".no", {"raw": RawReader}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("harness.errors:UsageError", "has to be a class derived from harness.formats.base.Format"),
        ("harness.errors:unknown_name", "has to be a class derived from harness.formats.base.Format"),
        (f"{__name__}:Unfinished", "does not state readers: set it in its class"),
        (f"{__name__}:Unwritable", "does not implement the whole interface: .*writer"),
    ],
)
def test_what_is_no_format_is_refused(name: str, message: str) -> None:
    sys.modules.setdefault(__name__, sys.modules[Unfinished.__module__])
    allow(name)
    with pytest.raises(UsageError, match=message):
        load_format(name)


def test_a_plugin_whose_library_is_missing_is_listed_with_the_reason(no_h5py: None) -> None:
    listed = {row.name: row for row in registry.listing("formats")}
    assert list(listed) == registry.names("formats")
    assert listed["hdf5"].plugin is None
    assert listed["hdf5"].missing.startswith("The format 'hdf5' cannot be imported: ")
    assert "h5py" in listed["hdf5"].missing
    assert listed["raw"].plugin is RawFormat
    assert listed["raw"].missing == ""
    with pytest.raises(UsageError, match="h5py"):
        load_format("hdf5")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import no_such_library", "No module named 'no_such_library'"),
        ("raise RuntimeError('built for another machine')", "mine raised RuntimeError: built for another machine"),
        ("raise SystemExit(3)", "mine raised SystemExit: 3"),
        ("mode = (", "raised SyntaxError: '(' was never closed (mine.py, line 1)"),
        ("", "module 'mine' has no attribute 'mode'"),
    ],
)
def test_an_extension_that_cannot_be_imported_is_left_out_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, source: str, reason: str
) -> None:
    (tmp_path / "mine.py").write_text(source)
    about = tmp_path / "mine-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Name: mine\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[harness.modes]\nmine = mine:mode\n")
    usual = [mode.name for mode in registry.usable("modes")]
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    monkeypatch.setattr(registry, "_warned", set())
    registry._points.cache_clear()
    try:
        for _ in range(2):  # said once
            assert [mode.name for mode in registry.usable("modes")] == usual
        with pytest.raises(UsageError, match="The mode 'mine' cannot be imported"):
            registry.load("modes", "mine")
    finally:
        registry._points.cache_clear()
    (said,) = caplog.messages
    assert said.startswith("Left out: The mode 'mine' cannot be imported: ") and reason in said


def test_a_missing_library_is_said_with_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Needy(RawFormat):
        @staticmethod
        def missing() -> str:
            return registry.missing_package("no_such_library", "trace-format-harness[more]")

    expected = "needs the package 'no_such_library': pip install 'trace-format-harness[more]'"
    assert registry.missing_package("json", "json") == ""
    monkeypatch.setattr(sys.modules[__name__], "Needy", Needy, raising=False)
    allow(f"{__name__}:Needy")
    with pytest.raises(UsageError) as caught:
        load_format(f"{__name__}:Needy")
    assert str(caught.value) == f"The format '{__name__}:Needy' {expected}."


def test_traces_without_their_data_are_listed_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    missing = {row.name: row.missing for row in registry.listing("traces")}
    assert missing["synthetic"] == missing["file"] == ""
    for name in ("af2-1ubq", "openfold-1ubq", "vit-mnist"):
        assert missing[name].startswith("needs real data: set HARNESS_DATA to the folder that holds ")


def test_a_trace_is_named_before_the_colon() -> None:
    source, parameters = find_source("synthetic:layers=1,heads=2")
    assert isinstance(source, TraceSource)
    assert (source.name, parameters) == ("synthetic", "layers=1,heads=2")
    assert find_source("file:a:b/c")[1] == "a:b/c"
    assert find_source("synthetic")[1] == ""
    trace = open_trace("synthetic:layers=1,heads=2,hidden_dim=12,pair_dim=8", 40)
    assert trace.manifest.metadata.num_residues == 40


@pytest.mark.parametrize(
    ("text", "message"),
    [(":layers=1", "A trace needs a name"), ("", "A trace needs a name"), ("sinthetic:layers=1", "did you mean")],
)
def test_a_trace_that_is_not_named_or_not_known(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_trace(text, 40)


@pytest.mark.parametrize(
    ("group", "given", "name"),
    [
        ("suites", "harness.suites.full_read:suite", "full_read"),
        ("formats", "harness.formats.raw:RawFormat", "raw"),
        ("formats", "harness.formats.raw:Other", "harness.formats.raw:Other"),
        ("suites", "suites.mine:suite", "suites.mine:suite"),
        ("suites", "full_read", "full_read"),
    ],
)
def test_a_plug_in_that_is_registered_has_that_name(group: registry.Group, given: str, name: str) -> None:
    assert registry.registered_name(group, given) == name


def test_what_is_registered_is_no_strangers() -> None:
    assert registry.load("suites", "harness.suites.size:suite").name == "size"
    assert isinstance(load_format("harness.formats.raw:RawFormat"), RawFormat)


@pytest.mark.parametrize(
    "stated", ['name = "x"; description = "said"', 'name, description = "x", "said"', 'description: str = "said"']
)
def test_what_a_class_says_of_itself_is_read_however_it_is_written(stated, tmp_path, monkeypatch):
    (tmp_path / "stating.py").write_text(f"raise SystemExit\nclass A:\n    {stated}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "_points", lambda group: {"a": EntryPoint("a", "stating:A", "harness.formats")})
    assert registry.stated("formats", "a", "description") == "said"
    assert registry.stated("formats", "a", "other") == ""
