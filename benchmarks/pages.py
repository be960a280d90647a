"""A page for asv that needs no network and no script: every figure of every benchmark, with its history.

Run ``python -m benchmarks.pages [FOLDER]`` after ``asv publish``. asv's own pages load their scripts from the network
and their figures from a web server. If they cannot, they then link to this page.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from harness.errors import HarnessError, UsageError
from harness.files import write_text

PAGE = "offline.html"
_WIDTH, _HEIGHT = 96, 20  # of the drawing in a cell, in CSS pixels
_TEMPLATE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ project }}: tracked figures</title><style>{{ style }}
.way { display: block; } .way polyline, .way circle { fill: none; stroke: currentColor; stroke-width: 1.5; }
</style></head>
<body><header><h1>{{ project }}: tracked figures</h1>
<p>The newest figure of every benchmark; behind it the change against the commit before, where both have one of the same
version, and a line over all commits. Times of one sample (<code>--quick</code>) are no verdict.
<a href="index.html">asv's own pages</a> need a network and a web server.</p>
<nav aria-label="Contents"><ul>{% for part in parts %}<li><a href="#{{ part.anchor }}">{{ part.title }}</a></li>
{% endfor %}</ul></nav></header>
<main>{% for part in parts %}<h2 id="{{ part.anchor }}">{{ part.title }}</h2>
<p class="facts">{{ part.facts }}</p>
{% for table in part.tables %}<div class="scroll" tabindex="0" role="region" aria-label="{{ table.name }}"><table>
<caption>{{ table.name }}, in {{ table.unit }}, version {{ table.version }}</caption>
<thead><tr><th scope="col">{{ table.corner }}</th>
{% for case in table.cases %}<th scope="col">{{ case }}</th>{% endfor %}</tr></thead>
<tbody>{% for row in table.rows %}<tr><th scope="row">{{ row.name }}</th>
{% for cell in row.cells %}<td class="figure">{{ cell.text }}
<span class="small">{{ cell.change }}</span>{{ cell.way }}</td>
{% endfor %}</tr>{% endfor %}</tbody></table></div>
{% endfor %}{% endfor %}</main></body></html>
"""
_ELSEWHERE = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>No network</title></head>
<body><p>The scripts of asv's pages could not be loaded. <a href="{PAGE}">The same figures without them</a>.</p></body>
</html>
"""


@dataclass(frozen=True)
class PageCell:
    """A cell of a table: a benchmark's newest figure as text, its change, and a drawing of all its figures."""

    text: str
    change: str
    way: Markup


def write_page(folder: Path) -> Path:
    """Write the page into the output folder of ``asv publish``.

    Parameters
    ----------
    folder : Path
        asv's ``html_dir``.

    Returns
    -------
    Path
        Path of the page. asv's page for scripts that could not be loaded links to it.

    Raises
    ------
    UsageError
        If nothing is published in the folder.
    HarnessError
        If no figure of a commit on the branches that asv follows is published.
    """
    try:
        index = json.loads((folder / "index.json").read_text())
    except FileNotFoundError as error:
        raise UsageError(f"There are no published benchmarks in {folder}: run 'asv publish' first.") from error
    parts = [_part(folder, index, params, number) for number, params in enumerate(index["graph_param_list"])]
    if not any(part["tables"] for part in parts):
        raise HarnessError("Nothing is published: run benchmarks of a commit on one of the branches in asv.conf.json.")
    style = files("harness.report.page").joinpath("templates/style.css").read_text()
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    text = environment.from_string(_TEMPLATE).render(project=index["project"], style=Markup(style), parts=parts)
    write_text(folder / PAGE, text)
    write_text(folder / "error.html", _ELSEWHERE)
    return folder / PAGE


def _part(folder: Path, index: dict[str, Any], params: dict[str, str], number: int) -> dict[str, Any]:
    """Collect the figures of one machine with one Python on one branch."""
    from asv.graph import Graph

    tables = []
    for name, benchmark in sorted(index["benchmarks"].items()):
        path = folder / f"{Graph.get_file_path(params, name)}.json"
        if path.exists():
            tables.append(_table(benchmark, json.loads(path.read_text())))
    hashes = [
        index["revision_to_hash"][key][: index["hash_length"]] for key in sorted(index["revision_to_hash"], key=int)
    ]
    shown = {key: value for key, value in params.items() if value and key not in ("machine", "branch")}
    facts = [f"{len(hashes)} commit{'s' * (len(hashes) > 1)}, newest {hashes[-1]}"] if hashes else []
    return {
        "anchor": f"part-{number}",
        "title": f"{params.get('machine') or 'one machine'}, branch {params.get('branch') or 'main'}",
        "facts": "; ".join([*facts, *(f"{key} {value}" for key, value in shown.items())]),
        "tables": tables,
    }


def _table(benchmark: dict[str, Any], points: list[list[Any]]) -> dict[str, Any]:
    """Arrange a benchmark's figures: a row for each value of its first parameter, columns for the other parameters."""
    names = [[str(value).strip("'") for value in values] for values in benchmark["params"]] or [["all"]]
    cases = [", ".join(case) for case in product(*names[1:])]
    series = list(zip(*(_values(values, len(names[0]) * len(cases)) for _, values in points), strict=True))
    cells = [_cell(values, benchmark["unit"]) for values in series]
    width = len(cases)
    rows = [{"name": name, "cells": cells[k * width : (k + 1) * width]} for k, name in enumerate(names[0])]
    return {
        "name": benchmark["name"],
        "unit": benchmark["unit"],
        "version": benchmark["version"],
        "corner": (benchmark["param_names"] or [""])[0],
        "cases": [case or "figure" for case in cases],
        "rows": rows,
    }


def _values(values: Any, count: int) -> Sequence[float | None]:
    return values if isinstance(values, list) else [values] * count


def _cell(values: Sequence[float | None], unit: str) -> PageCell:
    from asv.util import human_value

    newest = values[-1]
    if newest is None:
        return PageCell("n/a", "", Markup(""))
    text = re.sub(r"^(\d+)\.0$", r"\1", human_value(newest, unit))
    before = values[-2] if len(values) > 1 else None
    change = "" if before is None else ("equal" if newest == before else _change(before, newest))
    return PageCell(text, change, _way(values))


def _change(before: float, newest: float) -> str:
    return f"{newest / before - 1:+.1%}" if before else "from 0"


def _way(values: Sequence[float | None]) -> Markup:
    """Return a drawing of figures over commits, on an axis from 0; empty for fewer than two figures."""
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return Markup("")
    top = max(known) or 1.0
    step = (_WIDTH - 4) / (len(values) - 1)
    points = " ".join(
        f"{2 + number * step:.1f},{_HEIGHT - 2 - value / top * (_HEIGHT - 4):.1f}"
        for number, value in enumerate(values)
        if value is not None and math.isfinite(value)
    )
    return Markup(
        '<svg class="way" width="{}" height="{}" role="img" aria-label="over {} commits"><polyline points="{}"/></svg>'
    ).format(_WIDTH, _HEIGHT, len(known), points)


def main(arguments: Sequence[str]) -> int:
    """Write the page and print its path; return the exit code."""
    folder = Path(arguments[0]) if arguments else Path(".asv/html")
    try:
        print(write_page(folder))
    except HarnessError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
