"""JSON Schemas of the documents of a run, made from the types that read them: ``python -m benchmarks.schemas``.

They are published in ``docs/schemas``, and a test holds them against the types and against the reference run.
"""

from __future__ import annotations

import json
from inspect import cleandoc
from pathlib import Path
from typing import Any

import msgspec

from harness.analysis.asked import REPORT_VERSION, _Asked
from harness.run.archives import _Archives
from harness.run.config import _Stored
from harness.run.machine import _Sessions
from harness.run.plan import PLAN_VERSION, _Plans

FOLDER = Path(__file__).parents[1] / "docs" / "schemas"
_FILES: dict[str, tuple[Any, dict[str, list[int]], str]] = {
    "run": (_Stored, {"config_version": [1]}, "What a run was asked; executors and measurements may add to it."),
    "plan": (_Plans, {"plan_version": [PLAN_VERSION]}, "What was measured: tensors, and accesses with their reads."),
    "environment": (_Sessions, {}, "Machine and libraries, once for each session of a run."),
    "archives": (_Archives, {"archives_version": [1]}, "Size and SHA-256 of archives, and the digests of tensors."),
    "report": (
        _Asked,
        {"report_version": list(range(1, REPORT_VERSION + 1))},
        "What a report was asked. All else in it follows from the samples: 'harness check' makes it again.",
    ),
}
_GIVEN_APART = ("settings",)
"""Fields of a type that its document has one by one, beside the others."""


def schemas() -> dict[str, dict[str, Any]]:
    """Return the schema of each document, by its name without the ending."""
    found = {}
    for name, (kind, versions, purpose) in _FILES.items():
        schema = msgspec.json.schema(kind)
        top = schema["$defs"].pop(schema.pop("$ref").rpartition("/")[2])
        for part in schema["$defs"].values():
            if said := part.get("description"):
                part["description"] = cleandoc(said)  # which Python 3.13 does by itself
        for gone in _GIVEN_APART:
            top["properties"].pop(gone, None)
        top["properties"] |= {field: {"enum": known} for field, known in versions.items()}
        required = {*top["required"], *versions} - {*_GIVEN_APART}
        top["required"] = sorted(required)
        head = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
        found[name] = _without_empty({**head, **top, "title": f"{name}.json", "description": purpose, **schema})
    return found


def _without_empty(part: Any) -> Any:
    """Leave out defaults that are empty, which msgspec states since 0.23."""
    if isinstance(part, list):
        return [_without_empty(each) for each in part]
    if not isinstance(part, dict):
        return part
    return {key: _without_empty(each) for key, each in part.items() if key != "default" or each not in ({}, [])}


def text_of(schema: dict[str, Any]) -> str:
    """Write a schema as it is published."""
    return json.dumps(schema, indent=1) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, schema in schemas().items():
        (FOLDER / f"{name}.schema.json").write_text(text_of(schema))
