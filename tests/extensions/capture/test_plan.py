"""Tensors are named as the schema and the recorded OpenFold trace have them, in the order of computing."""

from __future__ import annotations

import pytest

from harness.errors import UsageError
from harness.extensions.capture.plan import check_settings
from harness.trace.recorded import openfold_1ubq
from harness.trace.schema import Role
from tests.extensions.capture.fake import KINDS, FakeModel, query, settings


def paths(**changes) -> list[str]:
    return [spec.path for spec in FakeModel(settings(**changes), query()).manifest.tensors]


def test_the_last_pass_is_in_the_plain_groups_and_earlier_ones_under_recycle():
    found = paths(blocks=2, attention=("row", "triangle"), triangle=("mean", 3))
    block = ["attention/row/layer_{}", "attention/triangle_mean/layer_{}", "attention/triangle_residue_3/layer_{}"]
    block.append("pair/layer_{}")
    ends = ["recycle/step_{}/single_repr", "recycle/step_{}/pair_repr"]
    first = [f"recycle/step_0/{name}".format(layer) for layer in (0, 1) for name in block]
    last = [name.format(layer) for layer in (0, 1) for name in block]
    inputs = ["inputs/sequence", "inputs/msa"]
    assert found == [*inputs, *first, *(e.format(0) for e in ends), *last, *(e.format(1) for e in ends)]


def test_only_what_is_chosen_is_kept():
    assert not any("layer_0" in path or "layer_2" in path for path in paths(layers=(1,)))
    assert not any("attention" in path for path in paths(attention=()))
    assert {p.split("/")[1] for p in paths(recycles=0) if p.startswith("attention")} == {"row", "triangle_mean", "once"}


def test_all_maps_of_a_triangle_attention_have_an_axis_of_residues():
    manifest = FakeModel(settings(triangle=("all",)), query()).manifest
    spec = manifest["attention/triangle_all/layer_0"]
    assert spec.shape == (7, 2, 7, 7) and spec.axes == ("residue", "head", "residue", "residue")
    assert spec.role is Role.ATTENTION


def test_roles_and_layers_are_known_in_every_pass():
    manifest = FakeModel(settings(), query()).manifest
    for spec in manifest.tensors:
        plain = spec.path.removeprefix("recycle/step_0/")
        if plain != spec.path and "layer" in plain:
            last = manifest[plain]
            assert (spec.role, spec.axes, spec.shape, spec.layer) == (last.role, last.axes, last.shape, last.layer)
    assert len(manifest.with_role(Role.PAIR)) == 2 * 3 + 2


def test_names_are_those_of_the_recorded_trace(real_data):
    if openfold_1ubq.missing():
        pytest.skip(openfold_1ubq.missing())
    recorded = openfold_1ubq.open("", None).manifest
    kinds = {
        "row": "msa_row",
        "triangle_mean": "triangle_start_mean",
        "triangle_residue_3": "triangle_start_residue_18",
    }
    for mine, theirs in kinds.items():
        assert f"attention/{mine}/layer_2" in paths(triangle=("mean", 3))
        assert f"attention/{theirs}/layer_4" in recorded.tensor_shapes
    assert "pair/layer_4" in recorded.tensor_shapes and "pair/layer_2" in paths()
    assert "recycle/step_1/single_repr" in recorded.tensor_shapes and "recycle/step_1/single_repr" in paths()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"attention": ("rows",)}, "no kind of attention in this model named 'rows'; did you mean 'row'"),
        ({"layers": (0, 3)}, "no block 3; this model has blocks 0 to 2"),
        ({"triangle": ("mean", 7)}, "no residue 7; this sequence has residues 0 to 6"),
    ],
)
def test_what_a_model_or_a_sequence_does_not_have_is_refused(changes, said):
    with pytest.raises(UsageError, match=said):
        check_settings(settings(**changes), [kind.name for kind in KINDS], query().residues)
