"""What a trace lacks is said as its manifest says it, whatever its file is called."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from harness.analysis.report_options import find_options
from harness.formats.archive import write_archive
from harness.formats.base import load_format
from harness.report.write import write_report
from harness.trace.manifest import Manifest, Metadata, Provenance
from harness.trace.schema import tensor
from harness.trace.sources import open_trace

SAID = {"untrained": "has untrained weights", "sampled": "only these layers were written and read"}


@pytest.mark.parametrize("lacking", [(), ("untrained",), ("sampled",)], ids=str)
def test_the_manifest_decides_and_not_the_name(lacking, measure, sketched, tmp_path: Path) -> None:
    trace = open_trace("synthetic:layers=1,heads=2,hidden_dim=8,pair_dim=4", 16)
    made = trace.manifest
    trace.manifest = dataclasses.replace(
        made,
        provenance=dataclasses.replace(made.provenance, trained="untrained" not in lacking),
        metadata=dataclasses.replace(made.metadata, num_layers=48 if "sampled" in lacking else 1),
    )
    path = tmp_path / "untrained_lossy_incomplete.npz"
    write_archive(trace, load_format("npz"), path)
    folder, _ = measure(traces=(f"file:{path}",), sizes=(), suites=("size",))
    said = write_report(folder, find_options(folder)).markdown.read_text()
    assert "untrained_lossy_incomplete.npz" in said
    assert {what for what, text in SAID.items() if text in said} == set(lacking)
    assert "was rounded within" not in said and "its layers end before" not in said


def test_a_trace_of_a_model_without_a_number_of_layers_lacks_none() -> None:
    specs = (tensor("attention/layer_0", (3, 2, 5, 5)),)
    assert Manifest(tensors=specs, provenance=Provenance(source="test")).lacks == ()
    some = Manifest(tensors=specs, provenance=Provenance(source="test"), metadata=Metadata(num_layers=2))
    assert some.lacks == ("sampled",)
