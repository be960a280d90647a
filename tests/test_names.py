"""No module that measures or reports knows the name of a format, a suite or an access: names are data."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import harness
from harness import registry
from harness.suite import suites

ROOMS = ("analysis", "cli", "evidence", "report", "run", "sampling")

# Words that are also the name of something, and mean something else where they occur.
OTHERWISE = {
    "zarr": ("run/machine.py",),  # a package whose version is recorded
    "safetensors": ("run/machine.py",),
    "size": ("cli/archives.py",),  # a line of 'harness inspect'
    "archive": ("cli/archives.py", "run/preparation.py"),  # an argument
}


def known() -> set[str]:
    """Return the names of all formats, suites and accesses, and what mixes call these."""
    accesses = [info for suite in suites() for info in suite.accesses]
    named = [*(info.name for info in accesses), *(info.mix for info in accesses)]
    return {*registry.names("formats"), *registry.names("suites"), *named}


def found(path: Path, names: set[str]) -> list[str]:
    """Return the names that a module has among its constants, with their lines."""
    texts = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)]
    return [f"{path}:{node.lineno}: {node.value!r}" for node in texts if node.value in names and node.value != ""]


@pytest.mark.parametrize("room", ROOMS)
def test_no_name_of_a_format_a_suite_or_an_access_is_in_a_room(room: str) -> None:
    root = Path(harness.__file__).parent
    names, said = known(), []
    for path in sorted((root / room).rglob("*.py")):
        place = path.relative_to(root).as_posix()
        allowed = {word for word, places in OTHERWISE.items() if place.startswith(places)}
        said += found(path, names - allowed)
    assert not said, "\n".join(said)


def test_a_name_would_be_found(tmp_path: Path) -> None:
    path = tmp_path / "knows.py"
    path.write_text('def f(suite):\n    return suite == "layer_read" or suite in {"zarr": 1}\n')
    assert len(found(path, known())) == 2
