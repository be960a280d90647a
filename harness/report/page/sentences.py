"""Sentences of the report: templates of paragraphs, each shown when its condition holds, filled in with figures."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import jinja2

from harness.analysis import formatting


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("harness.report.page"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # A foreign name may contain a line break, which must not begin a sentence.
        finalize=lambda value: value.replace("\n", " ") if type(value) is str else value,
    )
    environment.filters |= {"percent": formatting.percent, "nbytes": formatting.size, "listed": formatting.listed}
    return environment


def sentences(template: str, values: dict[str, Any]) -> list[str]:
    """Fill in ``templates/TEMPLATE.txt``; return its paragraphs that are not empty, each without line breaks."""
    text = _environment().get_template(f"{template}.txt").render(values)
    return [re.sub(r"\s*\n\s*", " ", part.strip()) for part in re.split(r"\n\s*\n", text) if part.strip()]
