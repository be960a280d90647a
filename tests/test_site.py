"""The documentation as a site: every page has a place in it, and it is built where its tools are installed."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
MADE = {"docs/command-line.md", "docs/python.md"}


class _Loader(yaml.SafeLoader):
    """Reads what mkdocs takes from the environment as nothing."""


_Loader.add_constructor("!ENV", lambda loader, node: None)


def places(nav: list) -> list[str]:
    found = []
    for entry in nav:
        for value in entry.values():
            found += places(value) if isinstance(value, list) else [value]
    return found


def test_every_page_has_one_place():
    listed = places(yaml.load((ROOT / "mkdocs.yml").read_text(), _Loader)["nav"])
    assert len(listed) == len(set(listed))
    pages = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md")}
    assert pages - set(listed) == set() and MADE.issubset(listed)
    assert not [name for name in listed if name not in MADE and not (ROOT / name).is_file()]


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="mkdocs is not installed: make docs does that")
def test_the_site_is_built_without_a_warning(tmp_path):
    done = subprocess.run([sys.executable, ".ci/site.py", tmp_path / "site"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "site/docs/command-line.html").read_text()
    commands = re.findall(r'<h2 id="harness-([a-z-]+)">', page)
    assert {"run", "show", "history", "compare"} <= set(commands)
    assert re.findall(r'<h3 id="harness-([a-z-]+)">', page) == ["history-add", "history-show"]
