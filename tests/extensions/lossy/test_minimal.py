"""A minimal trace: what it rounds and drops, what its record says, and what it refuses."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from harness.errors import ArchiveError, UsageError
from harness.extensions.lossy.minimal import RULES, MinimalTrace, recompute, rule_for
from harness.extensions.lossy.request import parse
from harness.testing.samples import StepTrace, sample_arrays
from harness.trace.loss import NOT_RECOMPUTABLE
from harness.trace.manifest import Manifest, Provenance
from harness.trace.schema import Role, TensorSpec, tensor
from harness.trace.sources import open_trace
from harness.trace.stream import MemoryTrace, Trace, TraceView, digest, read_whole
from tests.formats.samples import assert_same, trace_of

BOUNDS = ["pair=1e-2", "single=1e-3", "attention=1e-3"]


def arrays_of(trace: Trace) -> dict[str, np.ndarray]:
    return {spec.path: read_whole(trace, spec.path) for spec in trace.manifest.tensors}


def molecule(**more: np.ndarray) -> dict[str, np.ndarray]:
    """Make a structure with absent atoms at the origin, and what follows from it."""
    positions = np.random.default_rng(0).normal(size=(6, 37, 3)).astype(np.float32)
    positions[:, 9:] = 0
    return {
        "pair/layer_0": np.random.default_rng(1).normal(size=(6, 6, 4)).astype(np.float32),
        "structure/atom_positions": positions,
        "structure/atom_mask": (np.arange(37) < 9).astype(np.float32)[None].repeat(6, axis=0),
        "outputs/coordinates": positions[:, 1].copy(),
        **more,
    }


@pytest.fixture(scope="module")
def source() -> MemoryTrace:
    return trace_of(sample_arrays())


@pytest.fixture(scope="module")
def minimal(source: MemoryTrace) -> MinimalTrace:
    return MinimalTrace(source, parse(BOUNDS))


def test_only_roles_with_a_bound_change(source: Trace, minimal: Trace) -> None:
    before, after = arrays_of(source), arrays_of(minimal)
    assert list(before) == list(after)
    changed = {path for path in before if before[path].tobytes() != after[path].tobytes()}
    # Single is bfloat16 here, which has no bits to lose at 1e-3.
    assert changed == {
        "activations/layer_0/pair_repr", "attention/layer_0", "pair/layer_0", "recycle/step_0/pair_repr"
    }  # fmt: skip
    odd = before["recycle/step_0/pair_repr"]
    special = ~np.isfinite(odd) | (odd == 0)
    assert special.sum() > 100
    assert_same(after["recycle/step_0/pair_repr"][special], odd[special])


def test_the_record_has_the_errors_of_every_tensor_that_a_bound_applies_to(source: Trace, minimal: Trace) -> None:
    before, after, loss = arrays_of(source), arrays_of(minimal), minimal.manifest.loss
    assert loss is not None
    assert dict(loss.bounds) == {"pair": 1e-2, "single": 1e-3, "attention": 1e-3}
    assert loss.top_k == 10
    roles = (Role.PAIR, Role.SINGLE, Role.ATTENTION)
    assert [row.path for row in loss.rounded] == [s.path for s in source.manifest.tensors if s.role in roles]
    for row in loss.rounded:
        moved = before[row.path] != after[row.path]
        moved &= ~np.isnan(before[row.path])
        was, now = before[row.path][moved].astype(np.float64), after[row.path][moved].astype(np.float64)
        assert row.changed == moved.sum()
        assert row.largest_absolute_error == np.abs(now - was).max(initial=0)
        assert row.largest_relative_error == np.abs((now - was) / was).max(initial=0)
    bits = {row.path: row.significand_bits for row in loss.rounded}
    assert (bits["pair/layer_0"], bits["single/layer_0"], bits["attention/layer_0"]) == (6, 9, None)
    attention = next(row for row in loss.rounded if row.path == "attention/layer_0")
    assert sum(attention.rows.values()) == 4 * 45
    assert all(step == "kept" or step.startswith("2**-") for step in attention.rows)
    sums = [values["attention/layer_0"].sum(-1, dtype=np.float64) for values in (before, after)]
    assert attention.largest_sum_change == pytest.approx(np.abs(sums[0] - sums[1]).max(), abs=1e-15)


def test_the_values_do_not_depend_on_the_blocks() -> None:
    arrays = {tensor(path, array.shape, array.dtype): array for path, array in sample_arrays().items()}
    traces = [MinimalTrace(StepTrace(arrays, rows), parse(BOUNDS)) for rows in (None, 1, 7)]
    first = arrays_of(traces[0])
    for other in traces[1:]:
        assert other.manifest == traces[0].manifest
        for path, array in arrays_of(other).items():
            assert_same(array, first[path])


@pytest.mark.parametrize(
    ("path", "array", "role"),
    [
        ("activations/scalar", np.array(1.1, np.float32), Role.PAIR),
        ("activations/empty", np.zeros((0, 3), np.float32), Role.PAIR),
        ("activations/half", np.array([[1.1, 2.2]], np.float16), Role.PAIR),
        ("activations/double", np.array([[1.1, 2.2]], np.float64), Role.PAIR),
        ("activations/whole", np.array([[1001, 2]], np.int32), Role.PAIR),
        ("activations/row", np.array([0.3, 0.7], np.float32), Role.ATTENTION),
        ("activations/weight", np.array(0.3, np.float32), Role.ATTENTION),
        ("activations/no_rows", np.zeros((0, 4), np.float32), Role.ATTENTION),
        ("activations/hollow", np.zeros((4, 0), np.float32), Role.ATTENTION),
        ("activations/half_rows", np.array([[0.3, 0.7]], np.float16), Role.ATTENTION),
        ("activations/double_rows", np.array([[0.3, 0.7]], np.float64), Role.ATTENTION),
    ],
)
def test_any_shape_and_dtype_of_a_role_goes_through(path: str, array: np.ndarray, role: Role) -> None:
    whole = np.full((2, 2, 1), 1.1, np.float32)
    weights = np.full((1, 2, 2), 0.5, np.float32)
    specs = (
        tensor("pair/layer_0", whole.shape),
        tensor("attention/layer_0", weights.shape),
        tensor(path, array.shape, array.dtype, role=role),
    )
    source = MemoryTrace(
        "memory",
        Manifest(tensors=specs, provenance=Provenance(source="test")),
        {"pair/layer_0": whole, "attention/layer_0": weights, path: array},
    )
    trace = MinimalTrace(source, parse(["pair=0.1", "attention=0.1"]))
    found = read_whole(trace, path)
    assert (found.shape, found.dtype) == (array.shape, array.dtype)
    within = 0.1 * np.abs(array) if role is Role.PAIR else 0.1
    assert (np.abs(found - array) <= within).all()
    exact = array.dtype.kind != "f" or (role is Role.ATTENTION and array.ndim < 2)
    assert trace.manifest.loss is not None
    assert exact == (path not in [row.path for row in trace.manifest.loss.rounded])
    if exact:
        assert_same(found, array)


def test_what_follows_from_the_rest_is_dropped_and_comes_back_bit_for_bit() -> None:
    arrays = molecule(
        **{"outputs/logits": np.array([[1, 3, 3], [5, 2, 0]], np.float32), "outputs/predictions": np.array([1, 0])}
    )
    trace = MinimalTrace(trace_of(arrays), parse(["pair=1e-2"]))
    loss = trace.manifest.loss
    assert loss is not None
    assert {row.path for row in loss.dropped} == {rule.path for rule in RULES}
    assert not {row.path for row in loss.dropped} & {spec.path for spec in trace.manifest.tensors}
    for row in loss.dropped:
        rule = rule_for(row.path, row.rule)
        assert rule is not None
        assert row.recompute == f"{rule.how}, as {row.dtype}"
        spec = TensorSpec(path=row.path, shape=row.shape, dtype=row.dtype, axes=row.axes, role=Role(row.role))
        made = recompute(rule, read_whole(trace, rule.source), spec)
        assert made is not None
        assert_same(made, arrays[row.path])
        assert row.digest == digest(made)


def test_what_follows_in_another_dtype_is_dropped_too() -> None:
    arrays = molecule()
    arrays["outputs/coordinates"] = arrays["outputs/coordinates"].astype(np.float16)
    loss = MinimalTrace(trace_of(arrays), parse(["pair=1e-2"])).manifest.loss
    assert loss is not None
    assert [row.dtype for row in loss.dropped] == ["float16", "float32"]


@pytest.mark.parametrize(
    ("path", "change"),
    [
        ("outputs/coordinates", lambda a: np.nextafter(a, 9)),
        ("structure/atom_mask", lambda a: 1 - a),
        ("structure/atom_mask", lambda a: np.where(a == 0, np.float32(-0.0), a)),
        ("structure/atom_positions", lambda a: a[:, :5]),
        ("structure/atom_positions", lambda a: a[:, 0]),
    ],
)
def test_what_does_not_follow_bit_for_bit_is_kept(path: str, change: Any) -> None:
    arrays = molecule()
    arrays[path] = change(arrays[path])
    if path == "structure/atom_positions":
        del arrays["structure/atom_mask"]
        path = "outputs/coordinates"
    trace = MinimalTrace(trace_of(arrays), parse(["pair=1e-2"]))
    assert_same(read_whole(trace, path), arrays[path])


def test_what_the_user_names_is_dropped_and_what_followed_from_it_is_kept() -> None:
    arrays = molecule(**{"recycle/step_0/pair_repr": np.ones((6, 6, 4), np.float32)})
    drop = ["structure/atom_p*=fold again", "recycle/step_0/pair_repr"]
    trace = MinimalTrace(trace_of(arrays), parse(["pair=1e-2"], drop=drop))
    loss = trace.manifest.loss
    assert loss is not None
    assert {row.path: (row.recompute, row.rule) for row in loss.dropped} == {
        "structure/atom_positions": ("fold again", None),
        "recycle/step_0/pair_repr": (NOT_RECOMPUTABLE, None),
    }
    for row in loss.dropped:
        array = arrays[row.path]
        assert (row.shape, row.dtype, row.digest) == (array.shape, array.dtype.name, digest(array))
    assert [spec.path for spec in trace.manifest.tensors] == [
        "pair/layer_0", "structure/atom_mask", "outputs/coordinates"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("bounds", "top_k", "drop", "message"),
    [
        ([], None, [], "needs a bound for each role"),
        (["pair"], None, [], "the form ROLE=BOUND"),
        (["pairs=1"], None, [], "no role for --bound named 'pairs'; did you mean 'pair'"),
        (["input=1"], None, [], "no role for --bound named 'input'"),
        (["pair=x"], None, [], "--bound pair=x has to give a number above 0 and below 1"),
        (["pair=0"], None, [], "above 0 and below 1"),
        (["pair=1"], None, [], "above 0 and below 1"),
        (["pair=nan"], None, [], "above 0 and below 1"),
        (["pair=-1e-3"], None, [], "above 0 and below 1"),
        (["pair=.1", "pair=.2"], None, [], "bound of pair is given twice"),
        (["pair=.1"], "3", [], "--top-k is about attention"),
        (["attention=.1"], "0", [], "positive whole number, not '0'"),
        (["attention=.1"], "1.5", [], "positive whole number, not '1.5'"),
        (["single=.1"], None, [], "memory holds no single tensor to round; leave out --bound single"),
        (["pair=.1"], None, ["pair/*"], "holds no pair tensor to round"),
        (["pair=.1"], None, ["pair/layer_9"], "no tensor for --drop named 'pair/layer_9'; did you mean"),
    ],
)
def test_what_cannot_be_is_refused(bounds: list[str], top_k: str | None, drop: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        MinimalTrace(trace_of(molecule()), parse(bounds, top_k, drop))


def test_a_lossy_trace_is_not_made_lossier(minimal: Trace) -> None:
    with pytest.raises(UsageError, match="lossy already"):
        MinimalTrace(minimal, parse(["pair=1e-2"]))


def test_loss_is_said_wherever_the_trace_is_named(minimal: Trace) -> None:
    assert minimal.label == "memory (lossy)"
    note = minimal.manifest.provenance.note
    assert note is not None
    assert note.startswith('quotes " and \\ and é. LOSSY (minimal): pair within 0.01 of')
    assert minimal.manifest.provenance.source == "made for a test"
    assert json.loads(minimal.manifest.attributes()["loss"])["bounds"]["pair"] == 1e-2
    untrained = dataclasses.replace(trace_of(molecule()).manifest, provenance=Provenance(source="x", trained=False))
    trace = MinimalTrace(MemoryTrace("net", untrained, molecule()), parse(["pair=1e-2"]))
    assert trace.label == "net (untrained, lossy)"


def test_a_view_keeps_the_record_under_its_own_names(minimal: Trace) -> None:
    view = TraceView(
        minimal, {tensor("pair/layer_7", (45, 45, 6)): "pair/layer_0", tensor("outputs/empty", (0, 7)): "x"}
    )
    loss, whole = view.manifest.loss, minimal.manifest.loss
    assert loss is not None and whole is not None
    (row,) = loss.rounded
    assert row == dataclasses.replace(next(r for r in whole.rounded if r.path == "pair/layer_0"), path="pair/layer_7")


def test_a_manifest_with_loss_comes_back_from_json(minimal: Trace) -> None:
    trace = MinimalTrace(trace_of(molecule()), parse(["pair=1e-2"], drop=["outputs/*=so"]))
    for manifest in (minimal.manifest, trace.manifest):
        assert Manifest.from_json(manifest.to_json()) == manifest
        assert json.loads(manifest.to_json())["manifest_version"] == 2


def test_a_manifest_without_loss_is_written_as_before(source: Trace) -> None:
    document = json.loads(source.manifest.to_json())
    assert document["manifest_version"] == 2
    assert "loss" not in document
    assert "loss" not in source.manifest.attributes()


@pytest.mark.parametrize(
    "change",
    [
        {"mode": "tiny"}, {"mode": None}, {"bounds": None}, {"bounds": {"pair": "x"}}, {"bounds": {"pair": True}},
        {"bounds": {"pair": float("nan")}}, {"top_k": "x"}, {"rounded": 3}, {"rounded": [3]}, {"rounded": [{}]},
        {"dropped": [{}]}, {"dropped": None}, {"rounded": [{"path": "pair/layer_9"}]},
    ],
)  # fmt: skip
def test_a_damaged_record_is_refused_in_one_sentence(minimal: Trace, change: Mapping[str, Any]) -> None:
    document = json.loads(minimal.manifest.to_json())
    with pytest.raises(ArchiveError, match="The archive's manifest: ") as caught:
        Manifest.from_json(json.dumps(document | {"loss": document["loss"] | change}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("loss", [3, [], {}])
def test_a_record_of_another_kind_is_refused(minimal: Trace, loss: Any) -> None:
    document = json.loads(minimal.manifest.to_json()) | {"loss": loss}
    with pytest.raises(ArchiveError, match="The archive's manifest: "):
        Manifest.from_json(json.dumps(document))


def test_errors_of_a_tensor_that_is_not_there_are_refused(minimal: Trace) -> None:
    document = json.loads(minimal.manifest.to_json())
    document["loss"]["rounded"][0]["path"] = "pair/layer_9"
    with pytest.raises(Exception, match="expected errors only of tensors that the manifest lists"):
        Manifest.from_json(json.dumps(document))


def test_the_synthetic_trace_keeps_its_label_and_drops_its_derived_tensors() -> None:
    source = open_trace("synthetic:layers=1,heads=2,hidden_dim=8,pair_dim=4", 24)
    trace = MinimalTrace(source, parse(["pair=1e-2"]))
    assert trace.label == f"{source.label} (lossy)"
    assert trace.manifest.loss is not None
    assert {row.path for row in trace.manifest.loss.dropped} == {"structure/atom_mask", "outputs/coordinates"}
