"""The archive schema: what it defines is filled in, what does not fit is refused by name."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import ArchiveError, HarnessError
from harness.trace.manifest import Manifest, Metadata, Provenance, validate
from harness.trace.schema import DTYPES, Role, SchemaError, TensorSpec, tensor, validate_path, validate_tensor

PAIR = ("residue", "residue", "pair_channel")
SINGLE = ("residue", "channel")
HEADS = ("head", "residue", "residue")


def manifest(*tensors: TensorSpec, **changes: Any) -> Manifest:
    return Manifest(tensors=tensors, **{"provenance": Provenance(source="test"), **changes})


@pytest.mark.parametrize(
    ("path", "shape", "role", "axes"),
    [
        ("inputs/sequence", (9,), Role.INPUT, ("residue",)),
        ("inputs/msa", (4, 9), Role.INPUT, ("sequence", "residue")),
        ("inputs/images", (2, 1, 28, 28), Role.INPUT, ("image", "image_channel", "row", "column")),
        ("activations/layer_0/single_repr", (9, 5), Role.SINGLE, SINGLE),
        ("activations/layer_12/pair_repr", (9, 9, 5), Role.PAIR, PAIR),
        ("activations/layer_1/hidden_states", (2, 50, 8), Role.ACTIVATION, ("image", "token", "channel")),
        ("activations/conv1", (2, 8), Role.ACTIVATION, ("axis_0", "axis_1")),
        ("attention/layer_0", (4, 9, 9), Role.ATTENTION, HEADS),
        ("attention/layer_0", (2, 4, 50, 50), Role.ATTENTION, ("image", "head", "token", "token")),
        ("attention/triangle_start_mean/layer_3", (4, 9, 9), Role.ATTENTION, HEADS),
        ("attention_topk/layer_0/weight", (4, 20), Role.ATTENTION_TOPK, ("head", "rank")),
        ("attention_topk/msa_row/layer_3/row", (4, 20), Role.ATTENTION_TOPK, ("head", "rank")),
        ("activations/layer_1/hidden_states", (9, 5), Role.ACTIVATION, SINGLE),
        ("activations/final/single_repr", (9, 5), Role.SINGLE, SINGLE),
        ("activations/final/pair_repr", (9, 9, 5), Role.PAIR, PAIR),
        ("single/layer_0", (9, 5), Role.SINGLE, SINGLE),
        ("pair/layer_0", (9, 9, 5), Role.PAIR, PAIR),
        ("recycle/step_0/single_repr", (9, 5), Role.SINGLE, SINGLE),
        ("recycle/step_2/pair_repr", (9, 9, 5), Role.PAIR, PAIR),
        ("recycle/step_0/distances", (9,), Role.ACTIVATION, ("axis_0",)),
        ("structure/atom_positions", (9, 3), Role.STRUCTURE, ("residue", "xyz")),
        ("structure/atom_positions", (9, 37, 3), Role.STRUCTURE, ("residue", "atom", "xyz")),
        ("structure/atom_mask", (9, 37), Role.STRUCTURE, ("residue", "atom")),
        ("structure/ptm", (), Role.STRUCTURE, ()),
        ("outputs/coordinates", (9, 3), Role.OUTPUT, ("residue", "xyz")),
        ("outputs/confidence_scores", (9,), Role.OUTPUT, ("residue",)),
        ("outputs/logits", (2, 10), Role.OUTPUT, ("image", "class")),
        ("my_group/my_tensor", (3, 2), Role.ACTIVATION, ("axis_0", "axis_1")),
    ],
)
def test_the_schema_fills_in_role_and_axes(
    path: str, shape: tuple[int, ...], role: Role, axes: tuple[str, ...]
) -> None:
    spec = tensor(path, shape)
    assert (spec.role, spec.axes, spec.shape, spec.dtype) == (role, axes, shape, "float32")


def test_a_tensor_of_ones_own_takes_role_and_axes_as_given() -> None:
    spec = tensor("my_group/x", [np.int64(3), 2], np.float16, axes=["residue", "mine"], role=Role.PAIR)
    assert spec == TensorSpec(
        path="my_group/x", shape=(3, 2), dtype="float16", axes=("residue", "mine"), role=Role.PAIR
    )


@pytest.mark.parametrize(
    ("path", "shape", "nbytes", "layer"),
    [
        ("structure/ptm", (), 4, None),
        ("pair/layer_11", (3, 3, 2), 72, 11),
        ("activations/layer_2/x", (0, 7), 0, 2),
        ("outputs/player_3", (5,), 20, None),
        ("attention/kind/layer_4", (1, 2, 2), 16, 4),
    ],
)
def test_what_a_specification_knows(path: str, shape: tuple[int, ...], nbytes: int, layer: int | None) -> None:
    spec = tensor(path, shape)
    assert (spec.nbytes, spec.items, spec.layer) == (nbytes, nbytes // 4, layer)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"role": "pair"}, r"expected a Role, such as Role\.PAIR, got 'pair'"),
        ({"shape": [3, 3]}, "expected a shape of non-negative integers"),
        ({"shape": (True, 3)}, "expected a shape of non-negative integers"),
        ({"dtype": np.dtype("float32")}, "expected a dtype among"),
        ({"axes": ["a", "b"]}, "expected one axis name for each of 2 axes"),
        ({"axes": "ab"}, "expected one axis name for each of 2 axes"),
    ],
)
def test_wrong_types_are_refused_although_they_look_alike(wrong: dict[str, object], message: str) -> None:
    spec = dataclasses.replace(tensor("my_group/x", (3, 3), axes=("a", "b")), **wrong)  # type: ignore[arg-type]
    with pytest.raises(SchemaError, match=message):
        validate_tensor(spec)


@pytest.mark.parametrize(
    "path",
    ["../x", "a/../b", "a/..", "/abs/x", "a//b", "a/", "/", ".hidden/x", "a/.x", "a/./b", "a\\b/c", "a b/c", "a/b\n",
     "é/x", "a/\0", "-a/b", "", "metadata", "metadata/x", "C:/x", "~/x", "a/*"],
)  # fmt: skip
def test_names_that_are_not_plain_are_refused(path: str) -> None:
    with pytest.raises(SchemaError, match=r"expected|must be a non-empty string"):
        validate_path(path)
    with pytest.raises(SchemaError):
        tensor(path, (3,))


@pytest.mark.parametrize("path", ["pair/layer_00", "recycle/step_01/x", "activations/layer_007/x"])
def test_zero_padding_is_refused(path: str) -> None:
    with pytest.raises(SchemaError, match="without zero padding"):
        validate_path(path)


@pytest.mark.parametrize(
    ("path", "shape", "dtype", "axes", "message"),
    [
        ("outputs/x", (3,), "S3", None, "outputs/x: expected a dtype among bool, int8"),
        ("outputs/x", (3,), "U3", None, "expected a dtype among"),
        ("outputs/x", (3,), object, None, "expected a dtype among"),
        ("outputs/x", (3,), "datetime64[s]", None, "expected a dtype among"),
        ("outputs/x", (-1,), "int8", None, r"outputs/x: expected a shape of non-negative integers, got \(-1,\)"),
        ("outputs/x", (3, 2), "int8", ("one",), "expected one axis name for each of 2 axes"),
        ("outputs/x", (3,), "int8", (1,), "expected one axis name for each of 1 axes"),
        ("pair/layer_0", (3, 3), "int8", None, r"pair/layer_0: expected axes \(residue, residue, pair_channel\)"),
        ("structure/ptm", (1,), "int8", None, r"structure/ptm: expected axes \(\), got"),
        ("structure/atom_mask", (1, 2, 3), "int8", None, r"expected axes \(residue\) or \(residue, atom\)"),
        ("pair/first", (3, 3, 2), "int8", None, "expected a name such as 'pair/layer_0'"),
        ("attention/a/b/layer_0", (3, 3, 2), "int8", None, "expected a name such as 'attention/layer_0'"),
        ("attention_topk/layer_0", (3, 2), "int8", None, "expected a name such as 'attention_topk/layer_0/weight'"),
        ("attention_topk/layer_0/row", (3, 2, 2), "int8", None, r"expected axes \(head, rank\)"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(path: str, shape: Any, dtype: Any, axes: Any, message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        tensor(path, shape, dtype, axes=axes)


@pytest.mark.parametrize("shape", [(1.0,), ("3",), (None,)])
def test_extents_are_integers(shape: Any) -> None:
    spec = dataclasses.replace(tensor("outputs/x", (1,)), shape=shape)
    with pytest.raises(SchemaError, match="non-negative integers"):
        validate_tensor(spec)


@pytest.mark.parametrize(
    ("tensors", "changes", "message"),
    [
        ((tensor("outputs/x", (1,)), tensor("outputs/x", (1,))), {}, "outputs/x: expected each tensor once"),
        (
            (tensor("outputs/x/y", (1,)), tensor("outputs/x", (1,))),
            {},
            "outputs/x: expected either a tensor or a group",
        ),
        ((tensor("pair/layer_0", (3, 4, 1)),), {}, "pair/layer_0: expected 3 residues"),
        (
            (tensor("single/layer_0", (3, 1)), tensor("inputs/sequence", (4,))),
            {},
            "inputs/sequence: expected 3 residues",
        ),
        ((tensor("single/layer_0", (3, 1)),), {"metadata": Metadata(num_residues=5)}, "expected 5 residues"),
        ((tensor("outputs/x", (1,)),), {"digests": {"outputs/y": "0"}}, "outputs/y: expected a digest only for"),
    ],
)
def test_tensors_that_disagree_are_refused(tensors: Any, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        validate(manifest(*tensors, **changes))


def test_both_forms_of_the_proposal_fit_together() -> None:
    whole = manifest(
        tensor("activations/layer_0/pair_repr", (9, 9, 4)),
        tensor("pair/layer_0", (9, 9, 4)),
        tensor("single/layer_0", (9, 6)),
        tensor("attention/layer_0", (2, 9, 9)),
        tensor("attention/msa_row/layer_0", (2, 9, 9)),
        tensor("structure/ptm", ()),
    )
    validate(whole)
    assert whole.nbytes == 4 * (2 * 324 + 54 + 2 * 162 + 1)
    assert [spec.path for spec in whole.with_role(Role.PAIR)] == ["activations/layer_0/pair_repr", "pair/layer_0"]
    assert whole["single/layer_0"].shape == (9, 6)
    assert whole.tensor_shapes["structure/ptm"] == ()
    with pytest.raises(SchemaError, match="outputs/none: expected one of the 6 tensors"):
        whole["outputs/none"]


def test_metadata_that_is_not_known_is_left_out() -> None:
    known = Metadata(model_name="m", num_layers=0, representation_names=("single", "pair"))
    attributes = manifest(tensor("outputs/x", (2, 0), "bool"), metadata=known).attributes()
    assert {key: json.loads(v) if str(v).startswith(("{", "[")) else v for key, v in attributes.items()} == {
        "model_name": "m",
        "num_layers": 0,
        "representation_names": ["single", "pair"],
        "tensor_dtypes": {"outputs/x": "bool"},
        "tensor_shapes": {"outputs/x": [2, 0]},
    }


names = st.text(max_size=20)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(
    metadata=st.builds(
        Metadata,
        model_name=names,
        num_layers=st.integers(-(2**63), 2**64 - 1) | st.none(),
        representation_names=st.lists(names).map(tuple),
    ),
    provenance=st.builds(
        Provenance,
        source=names,
        seed=st.integers(-(2**63), 2**64 - 1) | st.none(),
        note=names | st.none(),
        importer=st.none() | st.just("harness, kind"),
        files=st.dictionaries(names, names),
    ),
    dtype=st.sampled_from(DTYPES),
    shape=st.lists(st.integers(0, 99), max_size=4).map(tuple),
)
def test_a_manifest_comes_back_from_json(
    metadata: Metadata, provenance: Provenance, dtype: str, shape: tuple[int, ...]
) -> None:
    spec = tensor("outputs/x", shape, dtype)
    whole = manifest(spec, metadata=metadata, provenance=provenance, digests={"outputs/x": "ab"})
    assert Manifest.from_json(whole.to_json()) == whole
    assert Manifest.from_json(whole.to_json().encode()) == whole


def test_a_trace_that_was_not_imported_has_the_manifest_it_always_had() -> None:
    document = json.loads(manifest(tensor("outputs/x", (1,))).to_json())
    assert list(document["provenance"]) == ["source", "seed", "trained", "bf16_born", "note"]
    imported = manifest(tensor("outputs/x", (1,)), provenance=Provenance(source="x", importer="k", files={"a": "0"}))
    assert json.loads(imported.to_json())["provenance"]["files"] == {"a": "0"}


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "3", '"text"', "{}", "[" * 100_000, b"\xff\xfe\x00", '{"manifest_version": 1}',
     '{"manifest_version": 1, "tensors": [3], "metadata": {}, "provenance": {}, "digests": {}}'],
)  # fmt: skip
def test_what_is_no_manifest_is_refused(text: str | bytes) -> None:
    with pytest.raises(ArchiveError, match=r"^The archive's manifest: "):
        Manifest.from_json(text)


def test_a_version_that_is_not_known_is_refused() -> None:
    document = json.loads(manifest().to_json()) | {"manifest_version": 7}
    with pytest.raises(ArchiveError, match="has version 7; this reader knows versions 1 and 2"):
        Manifest.from_json(json.dumps(document))


@pytest.mark.parametrize("value", [None, 3, -1, "x y", [], [1, 2, 3], ["a", None], {}, {"a": 1}, 1.5, "../x"])
@pytest.mark.parametrize("key", ["path", "shape", "dtype", "axes", "role"])
def test_a_field_of_another_kind_is_refused_in_one_sentence(key: str, value: Any) -> None:
    document = json.loads(manifest(tensor("pair/layer_0", (2, 2, 1))).to_json())
    document["tensors"][0][key] = value
    with pytest.raises((SchemaError, ArchiveError)) as caught:
        Manifest.from_json(json.dumps(document))
    assert "\n" not in str(caught.value)
    del document["tensors"][0][key]
    with pytest.raises(ArchiveError, match=rf"at \$\.tensors\[0\] expected the field {key}"):
        Manifest.from_json(json.dumps(document))


@pytest.mark.parametrize("key", ["tensors", "metadata", "provenance", "digests"])
@pytest.mark.parametrize("value", [None, 3, [1], {"unknown": 1}])
def test_a_part_of_another_kind_is_refused(key: str, value: Any) -> None:
    document = json.loads(manifest(tensor("outputs/x", (1,))).to_json())
    with pytest.raises(HarnessError):
        Manifest.from_json(json.dumps(document | {key: value}))
