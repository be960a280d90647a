"""How far a trace came is said by its last whole layer, in the order in which it was to be written."""

from __future__ import annotations

import dataclasses
import json

import pytest

from harness.errors import ArchiveError
from harness.trace.incomplete import Incomplete, measure, stage_of
from harness.trace.manifest import Manifest, Provenance
from harness.trace.schema import tensor
from harness.trace.stream import shown_label


@pytest.mark.parametrize(
    ("path", "stage"),
    [
        ("activations/layer_3/pair_repr", "layer_3"),
        ("attention/triangle_start/layer_12", "layer_12"),
        ("recycle/step_1/single_repr", "step_1"),
        ("recycle/step_1/layer_3/pair_repr", "step_1/layer_3"),
        ("structure/ptm", ""),
        ("outputs/player_3", ""),
        ("outputs/layer_3.mean", ""),
        ("outputs/layer_norm", ""),
    ],
)
def test_the_layer_or_step_of_a_tensor(path: str, stage: str) -> None:
    assert stage_of(path) == stage


PLANNED = ["inputs/sequence", "single/layer_0", "pair/layer_0", "single/layer_1", "pair/layer_1", "outputs/x"]


@pytest.mark.parametrize(
    ("whole", "text"),
    [
        (0, "0 of 6 tensors, no layer is whole"),
        (2, "2 of 6 tensors, no layer is whole"),
        (3, "3 of 6 tensors, whole up to layer_0"),
        (4, "4 of 6 tensors, whole up to layer_0"),
        (5, "5 of 6 tensors, whole up to layer_1"),
        (6, "all 6 tensors, but their writing was not finished"),
    ],
)
def test_how_far_a_trace_came(whole: int, text: str) -> None:
    assert str(measure(PLANNED, PLANNED[:whole])) == text


def test_a_layer_counts_when_all_of_its_tensors_are_there_wherever_they_stand() -> None:
    planned = ["single/layer_0", "single/layer_1", "pair/layer_0", "pair/layer_1"]
    assert measure(planned, planned[:2]).last_layer is None
    assert measure(planned, planned[:3]).last_layer == "layer_0"


def manifest(**fields: object) -> Manifest:
    one = tensor("outputs/x", (1,))
    return dataclasses.replace(Manifest(tensors=(one,), provenance=Provenance(source="made for a test")), **fields)


def test_a_manifest_says_that_it_is_incomplete_and_one_that_is_whole_is_as_it_always_was() -> None:
    cut = manifest(incomplete=Incomplete(whole=1, planned=7, last_layer="layer_2"))
    assert Manifest.from_json(cut.to_json()) == cut
    assert json.loads(cut.to_json())["manifest_version"] == 2
    assert cut.attributes()["incomplete"] == "1 of 7 tensors, whole up to layer_2"
    whole = json.loads(manifest().to_json())
    assert whole["manifest_version"] == 2 and "incomplete" not in whole and "incomplete" not in manifest().attributes()


@pytest.mark.parametrize("value", [3, [], {}, {"whole": 1}, {"whole": 1, "planned": 2, "more": 3}])
def test_a_damaged_record_is_refused(value: object) -> None:
    document = json.loads(manifest(incomplete=Incomplete(whole=1, planned=7)).to_json())
    with pytest.raises(ArchiveError, match="The archive's manifest: "):
        Manifest.from_json(json.dumps(document | {"incomplete": value}))


def test_a_label_says_it_beside_what_else_it_says() -> None:
    cut = Incomplete(whole=1, planned=7)
    untrained = Provenance(source="made for a test", trained=False)
    assert shown_label("file:x", manifest()) == "file:x"
    assert shown_label("file:x", manifest(incomplete=cut)) == "file:x (incomplete)"
    assert shown_label("file:x", manifest(incomplete=cut, provenance=untrained)) == "file:x (untrained, incomplete)"
