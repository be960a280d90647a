"""JSON Schemas of the documents of a run, generated from the types that read them: ``python -m benchmarks.schemas``.

They are published in ``docs/schemas``. A test compares them with the types and with the reference run.
"""

from __future__ import annotations

import importlib
import json
from inspect import cleandoc
from pathlib import Path
from typing import Any

import msgspec

from harness.analysis.report_options import FIRST_REPORT_VERSION, REPORT_VERSION, _Asked
from harness.evidence.bundle import BUNDLE_VERSION, BundleManifest
from harness.run.archives import _Archives
from harness.run.config import _Stored
from harness.run.machine import _Sessions
from harness.run.plan import PLAN_VERSION, _Plans
from harness.trace.manifest import FIRST_VERSION, MANIFEST_VERSION
from harness.trace.manifest import _Stored as _Archive

FOLDER = Path(__file__).parents[1] / "docs" / "schemas"
_Stated = tuple[Any, dict[str, list[int]], str]
_FILES: dict[str, _Stated] = {
    "run": (_Stored, {"config_version": [1]}, "What a run was asked; executors and measurements may add to it."),
    "plan": (_Plans, {"plan_version": [PLAN_VERSION]}, "What was measured: tensors, and accesses with their reads."),
    "environment": (_Sessions, {}, "Machine and libraries, once for each session of a run."),
    "archives": (_Archives, {"archives_version": [1]}, "Size and SHA-256 of archives, and the digests of tensors."),
    "report": (
        _Asked,
        {"report_version": list(range(FIRST_REPORT_VERSION, REPORT_VERSION + 1))},
        "What a report was asked. All else in it follows from the samples: 'harness check' makes it again.",
    ),
    "archive": (
        _Archive,
        {"manifest_version": list(range(FIRST_VERSION, MANIFEST_VERSION + 1))},
        "The manifest of an archive: its tensors, their source, and the chains of a complex.",
    ),
    "manifest": (BundleManifest, {"bundle_version": [BUNDLE_VERSION]}, "What a bundle says of itself: its digests."),
}
_OF_EXTENSIONS: dict[str, tuple[str, str, dict[str, list[int]], str]] = {
    "entropy": (
        "harness.extensions.entropy.document", "EntropyDocument", {"entropy_version": [1]},
        "The entropy of each trace under a stated model.",
    ),
    "beside": (
        "harness.extensions.beside.section", "_Kept", {"beside_version": [1]},
        "What earlier versions kept of other runs.",
    ),
    "verdicts": (
        "harness.extensions.beside.document", "VerdictDocument", {"verdicts_version": [1]},
        "What 'harness report RUN RUN ...' says of several runs: which verdicts hold on all of them.",
    ),
    "cluster": (
        "harness.extensions.cluster.document", "ClusterDocument", {"cluster_version": [1]},
        "The tasks of a run that was measured on several nodes.",
    ),
    "directories": (
        "harness.extensions.result_directories.record", "_Directories", {"directories_version": [1]},
        "Every file of each result directory in each mode, and what was read from it.",
    ),
    "projection": (
        "harness.extensions.projection.section", "_Projected", {"projection_version": [1]},
        "What many traces on a store would cost: a projection.",
    ),
}  # fmt: skip
_GIVEN_APART = ("settings",)
"""Fields of a type whose entries are top-level fields of its document."""


def schemas() -> dict[str, dict[str, Any]]:
    """Return the schema of each document of the core, by its name without the suffix."""
    return _schemas(_FILES)


def schemas_of_extensions() -> dict[str, dict[str, Any]]:
    """Return the schema of each document that an extension adds to a run, by its name without the suffix."""
    return _schemas({
        name: (getattr(importlib.import_module(module), kind), versions, purpose)
        for name, (module, kind, versions, purpose) in _OF_EXTENSIONS.items()
    })  # fmt: skip


def _schemas(stated: dict[str, _Stated]) -> dict[str, dict[str, Any]]:
    found = {}
    for name, (kind, versions, purpose) in stated.items():
        schema = msgspec.json.schema(kind)
        top = schema["$defs"].pop(schema.pop("$ref").rpartition("/")[2])
        for part in schema["$defs"].values():
            if said := part.get("description"):
                part["description"] = cleandoc(said)  # Python 3.13 does this itself
        for gone in _GIVEN_APART:
            top["properties"].pop(gone, None)
        top["properties"] |= {field: {"enum": known} for field, known in versions.items()}
        required = {*top["required"], *versions} - {*_GIVEN_APART}
        top["required"] = sorted(required)
        head = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
        found[name] = _without_empty({**head, **top, "title": f"{name}.json", "description": purpose, **schema})
    return found


def _without_empty(part: Any) -> Any:
    """Return a schema without empty defaults, which msgspec states since 0.23."""
    if isinstance(part, list):
        return [_without_empty(each) for each in part]
    if not isinstance(part, dict):
        return part
    return {key: _without_empty(each) for key, each in part.items() if key != "default" or each not in ({}, [])}


def text_of(schema: dict[str, Any]) -> str:
    """Return the text of a schema as it is published."""
    return json.dumps(schema, indent=1) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, schema in (schemas() | schemas_of_extensions()).items():
        (FOLDER / f"{name}.schema.json").write_text(text_of(schema))
