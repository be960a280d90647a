"""The published schemas of what extensions add to a run are those of the types that read it, and written files fit."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.schemas import FOLDER, schemas_of_extensions, text_of
from harness.analysis.choice.mix import parse_mix
from harness.analysis.table import CaseKey
from harness.evidence.bundle import read_bundle
from harness.extensions.beside.document import SideBySide, to_json
from harness.extensions.beside.shared import SharedCells
from harness.extensions.beside.systems import RunFact
from harness.extensions.beside.verdicts import HeldVerdict, RunWord
from harness.extensions.projection.project import STORES, Projection, ProjectionQuestion, document_of
from harness.extensions.projection.section import Projected

RESULTS = Path(__file__).parents[2] / "results"


def _document(name: str) -> dict:
    if name == "entropy":
        row = {"trace": "synthetic", "n_res": 64, "float32_bytes": 4, "entropy_bytes": 1.5, "counted": 1.0}
        return {"entropy_version": 1, "traces": [row]}
    if name == "verdicts":
        said = (RunWord(word="tie", possible=frozenset(("in front",)), ratio=1.01, low=0.99, high=1.03), RunWord())
        held = HeldVerdict(kind="standing", effort="stock", of="reads", format="npz", said=said)
        cells = {CaseKey("s", "a", "t", None, "", "main", 1): frozenset((("npz", "tuned"),))}
        shared = SharedCells(cells=cells, efforts=("stock",), further=(), notes=())
        facts = [RunFact("Processor", ("one", "another"))]
        together = SideBySide(runs=(), baseline="npz", shared=shared, facts=facts, verdicts=[held])
        return json.loads(to_json(together, "0.1.0"))
    if name == "cluster":
        node = {"host": "n", "memory_bytes": 1, "filesystem": "xfs", "storage": "", "stripe_count": None}
        task = {"block": "b", "trace": "t", "n_res": 64, "part": "write", "attempt": 1, "job": "1", "problem": ""}
        task |= {"node": node | {"clock_offset_seconds": -0.1}, "seconds": 1.5, "files": 3, "archive_bytes": 9}
        bounds = {"cluster": "slurm", "at_once": 4, "minutes": 9, "files_budget": 9, "lukewarm": True}
        return {"cluster_version": 1, **bounds, "tasks": [task | {"clock_outside_seconds": 0.0}]}
    if name == "directories":
        return json.loads(read_bundle(RESULTS / "result-directories.bundle.zip").files["directories.json"])
    if name != "projection":
        return json.loads((RESULTS / "reference" / f"{name}.json").read_text())
    asked = ProjectionQuestion(
        traces=10, n_res=64, readers=1, accesses=1, mix=parse_mix("shared-cluster"), store=STORES["s3"]
    )
    row = dict.fromkeys(Projected.__annotations__, 1.0) | {"format": "zarr", "profile": "tuned"}
    return document_of(Projection(question=asked, trace="synthetic", table=pd.DataFrame([row]), notes=("a note",)))


@pytest.mark.parametrize("name", schemas_of_extensions())
def test_the_published_schema_is_current_and_what_is_written_fits_it(name):
    jsonschema = pytest.importorskip("jsonschema", reason="comes with check-jsonschema, of the extra test")
    schema = schemas_of_extensions()[name]
    assert (FOLDER / f"{name}.schema.json").read_text() == text_of(schema), "run python -m benchmarks.schemas"
    document = _document(name)
    jsonschema.validate(document, schema)
    for field in schema["required"]:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({key: value for key, value in document.items() if key != field}, schema)
