"""The house stands as it is drawn: names once, no circles, two tiers, and a start in no time."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import house

ROOT = Path(__file__).resolve().parents[1]


def test_no_public_class_name_occurs_twice() -> None:
    assert house.repeated_classes(ROOT) == {}


def test_no_modules_reach_each_other_in_a_circle() -> None:
    assert house.circles(ROOT) == []


def test_the_core_imports_no_extension_and_no_extension_another() -> None:
    arrows = []
    for name, imported in house.imports(ROOT).items():
        room = ".".join(name.split(".")[:3]) if name.startswith("harness.extensions.") else "the core"
        inner = {module for module in imported if module.startswith("harness.extensions.")}
        if name.startswith("harness"):
            arrows += [f"{name} -> {module}" for module in inner if not f"{module}.".startswith(f"{room}.")]
    assert arrows == []


def test_what_is_counted_can_be_wrong(tmp_path: Path) -> None:
    for name, text in {
        "harness/a.py": "from harness import b\nclass X:\n    pass\n",
        "harness/b.py": "def late():\n    import harness.a\n",
        "harness/c.py": "from harness.a import X\nclass _Y:\n    pass\n",
        "suites/d.py": "class X:\n    class X:\n        pass\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert house.repeated_classes(tmp_path) == {"X": ["harness/a.py", "suites/d.py"]}
    assert house.circles(tmp_path) == [{"harness.a", "harness.b"}]
    assert house.docstring_lines(ast.parse('"""One\ntwo."""\ndef f():\n    """Three."""\n')) == 3


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["list"]])
def test_nothing_heavy_is_imported_before_it_is_needed(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom harness.cli import main\n"
        f"try:\n    main({arguments})\nexcept SystemExit:\n    pass\n"
        "heavy = {'numpy', 'pandas', 'matplotlib', 'zarr', 'h5py', 'jinja2', 'msgspec'} & set(sys.modules)\n"
        "own = [name for name in sys.modules if name.startswith('harness.extensions.')]\n"
        "sys.exit(f'{heavy} {own}' if heavy or own else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_help_shows_commands_with_what_they_are_for() -> None:
    done = subprocess.run([sys.executable, "-m", "harness", "--help"], capture_output=True, text=True, cwd=ROOT)
    assert "run measure formats on traces" in " ".join(done.stdout.split())
