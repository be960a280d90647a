"""Build the documentation as a site that needs no network: ``.ci/site.py SITE``.

The pages are README.md, docs/ and what they link to, laid out as in the repository, so that links hold in both. Two
pages are made here: the help of every command, and what docstrings of the public API say.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import harness

ROOT = Path(__file__).resolve().parents[1]
HARNESS = [sys.executable, "-m", "harness"]


def linked(pages: list[Path]) -> set[Path]:
    """Return the files that pages link to, and those that these link to, pages included."""
    found, waiting = set(pages), list(pages)
    while waiting:
        page = waiting.pop()
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            path = Path(os.path.normpath(page.parent / target))
            if path.is_file() and path.is_relative_to(ROOT) and path not in found:
                found.add(path)
                if path.suffix == ".md":
                    waiting.append(path)
    return found


def helped() -> str:
    """Return the help of every command, and of the actions of commands that have some, as one page."""
    wide = os.environ | {"COLUMNS": "80", "NO_COLOR": "1"}

    def told(*words: str) -> str:
        done = subprocess.run([*HARNESS, *words, "--help"], env=wide, capture_output=True, text=True, check=True)
        return done.stdout

    def parts(*words: str) -> Iterator[str]:
        text = told(*words)
        title = f"harness {' '.join(words)}" if words else "Every command"
        yield f"{'#' * (1 + len(words))} {title}\n\n```text\n{text}```\n"
        listed = re.search(r"^  (?:COMMAND|ACTION)\n((?:    .*\n)+)", text, re.M)
        for name in re.findall(r"^    ([a-z][a-z-]*) ", listed[1] if listed else "", re.M):
            yield from parts(*words, name)

    return "\n".join(parts())


def main(site: Path) -> int:
    """Lay out the pages and build them; returns what mkdocs does."""
    pages = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")]
    pages += sorted((ROOT / "docs").glob("*.md"))
    with tempfile.TemporaryDirectory() as folder:
        for path in linked(pages):
            place = Path(folder) / path.relative_to(ROOT)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
        (Path(folder) / "docs/command-line.md").write_text(helped(), encoding="utf-8")
        public = "\n\n".join(f"::: {module}.{name}" for name, module in harness._PLACES.items())
        (Path(folder) / "docs/python.md").write_text(f"# Python reference\n\n{public}\n", encoding="utf-8")
        build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--clean", "--site-dir", str(site.absolute())]
        return subprocess.run(build, cwd=ROOT, env=os.environ | {"DOCS": folder}).returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
