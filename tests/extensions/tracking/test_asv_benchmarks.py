"""asv's benchmarks come from the registered suites and formats, with versions that follow the definition alone."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import registry
from harness.formats.base import load_format
from harness.formats.zarr import ZarrFormat
from harness.run.defaults import all_suites
from harness.run.planning import open_subjects
from harness.run.presets import PRESETS
from harness.trace import synthetic
from harness.workload import ReadAccess, SizeAccess, WriteAccess

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "benchmarks" / "tracked"
METHODS = {
    ReadAccess: {"time_read", "time_open", "peakmem_read", "track_bytes_read", "track_requests", "track_files_opened"},
    WriteAccess: {"time_write", "time_write_durable", "peakmem_write"},
    SizeAccess: {"track_size", "track_files"},
}

pytest.importorskip("asv_runner", reason="asv is not installed: pip install 'trace-format-harness[tracking]'")

from benchmarks.tracked import definition  # noqa: E402 - needs asv_runner


@pytest.fixture
def fresh() -> Iterator[None]:
    """Let a definition that a test changes be read again, before it and after it."""
    caches = (definition.config, definition.subject, definition.data)
    for cached in caches:
        cached.cache_clear()
    yield
    for cached in caches:
        cached.cache_clear()


@pytest.fixture(scope="module")
def discovered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What asv itself finds, by name."""
    result = tmp_path_factory.mktemp("asv") / "found.json"
    script = "import sys; from asv_runner.discovery import _discover; _discover(sys.argv[1:])"
    command = [sys.executable, "-P", "-c", script, str(FOLDER), str(result)]
    subprocess.run(command, check=True, cwd=result.parent)
    return {found["name"]: found for found in json.loads(result.read_text())}


def versions() -> dict[str, list[str]]:
    return {suite: [definition.version(suite, kind) for kind in METHODS] for suite in all_suites()}


def test_every_access_of_every_suite_is_there_in_every_format(discovered: dict[str, dict[str, Any]]) -> None:
    config = dataclasses.replace(definition.config(), formats=("zarr",))
    (subject,) = open_subjects(config)
    assert {suite for suite, _ in subject.plans} == set(all_suites())
    expected: dict[str, list[str]] = {}
    for suite, access in subject.plans:
        kind = next(kind for kind in METHODS if isinstance(access, kind))  # or no benchmark measures it
        for method in METHODS[kind]:
            expected.setdefault(f"suites.{suite}.{method}", []).append(repr(definition.case(access)))
    assert set(discovered) == set(expected)
    for name, cases in expected.items():
        formats, found = discovered[name]["params"]
        assert found == cases and len(set(cases)) == len(cases), name
        assert sorted(formats) == sorted(map(repr, registry.names("formats"))), name
        assert discovered[name]["param_names"] == ["format", "case"]


def test_versions_are_explicit_and_one_for_each_definition(discovered: dict[str, dict[str, Any]]) -> None:
    stated = {name: found["version"] for name, found in discovered.items()}
    for name, version in stated.items():
        suite = name.split(".")[1]
        assert version in {definition.version(suite, kind) for kind in METHODS}, name
    assert len(set(stated.values())) == len(all_suites())


def test_figures_have_units_that_pages_can_show(discovered: dict[str, dict[str, Any]]) -> None:
    units = {name.rpartition(".")[2]: found["unit"] for name, found in discovered.items()}
    assert {units["time_read"], units["time_write"]} == {"seconds"}
    assert {units["peakmem_read"], units["track_size"], units["track_bytes_read"]} == {"bytes"}
    assert (units["track_requests"], units["track_files"]) == ("requests", "files")


@pytest.mark.usefixtures("fresh")
def test_another_workload_is_another_version_of_its_suite_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    before = versions()
    definition.subject.cache_clear()
    definition.config.cache_clear()
    options = dataclasses.replace(PRESETS["quick"]["options"], pair_windows=5)
    monkeypatch.setitem(PRESETS, "quick", {**PRESETS["quick"], "options": options})
    changed = {suite for suite, version in versions().items() if version != before[suite]}
    assert changed == {"random_access"}


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("change", [{"sizes": (48,)}, {"traces": ("synthetic:layers=2,seed=1",)}])
def test_another_trace_is_another_version_of_every_suite(
    change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = versions()
    for cached in (definition.config, definition.subject, definition.data):
        cached.cache_clear()
    monkeypatch.setitem(PRESETS, "quick", {**PRESETS["quick"], **change})
    after = versions()
    assert all(after[suite] != before[suite] for suite in all_suites())


@pytest.mark.usefixtures("fresh")
def test_other_values_under_the_same_names_are_another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    before = versions()
    definition.data.cache_clear()
    changed = {"outputs/confidence_scores": lambda seed, n: np.full(n, 50, np.float32)}
    monkeypatch.setattr(synthetic.structure, "TENSORS", {**synthetic.structure.TENSORS, **changed})
    assert all(version != before[suite] for suite, version in versions().items())


@pytest.mark.usefixtures("fresh")
def test_other_code_under_test_is_the_same_version(monkeypatch: pytest.MonkeyPatch) -> None:
    before = versions()
    definition.data.cache_clear()
    definition.subject.cache_clear()
    tensors = definition.subject().manifest.tensors
    layouts = [load_format("zarr").layout(spec, "tuned") for spec in tensors]
    original = ZarrFormat.layout
    monkeypatch.setattr(
        ZarrFormat, "layout", lambda *given: dataclasses.replace(original(*given), codec=None, origin="chosen")
    )
    monkeypatch.setattr(ZarrFormat, "reader", None)
    assert [load_format("zarr").layout(spec, "tuned") for spec in tensors] != layouts
    assert versions() == before
