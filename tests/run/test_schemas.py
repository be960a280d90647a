"""The published schemas are those of the types that read a run's documents, and the reference run fits them."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from benchmarks.examples import path_of
from benchmarks.schemas import FOLDER, schemas, text_of
from harness.formats.archive import open_archive

RESULTS = Path(__file__).parents[2] / "results"
RUN = RESULTS / "reference"


@pytest.mark.parametrize("name", schemas())
def test_the_published_schema_is_current_and_the_reference_run_fits_it(name):
    jsonschema = pytest.importorskip("jsonschema", reason="comes with check-jsonschema, of the extra test")
    schema = schemas()[name]
    assert (FOLDER / f"{name}.schema.json").read_text() == text_of(schema), "run python -m benchmarks.schemas"
    if name == "manifest":
        with zipfile.ZipFile(RESULTS / "readers.bundle.zip") as bundle:
            document = json.loads(bundle.read("readers/manifest.json"))
    elif name == "archive":
        with open_archive(path_of("hdf5")) as (_, _, manifest):
            document = json.loads(manifest.to_json())
    else:
        document = json.loads((RUN / f"{name}.json").read_text())
    if name == "plan":
        document["subjects"] = document["subjects"][:1]  # all of them take seconds
    jsonschema.validate(document, schema)
    for field in schema["required"]:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({key: value for key, value in document.items() if key != field}, schema)
