"""Synthetic traces: the same bytes always, and values that look like a protein model's."""

from __future__ import annotations

import numpy as np
import pytest

from harness.errors import UsageError
from harness.trace import stream
from harness.trace.manifest import Manifest, validate
from harness.trace.protein import TILE
from harness.trace.random import Stream, exp, levels, log, round_to_bf16
from harness.trace.schema import Role
from harness.trace.stream import Trace, digest
from harness.trace.synthetic import SyntheticTrace, source

TINY = "layers=1,heads=2,hidden_dim=12,pair_dim=8"
PROTEIN = TINY + ",recycles=1,n_seq=3"
FLOAT32 = TINY + ",dtype=float32"
NOISE = "values=noise," + TINY

# If one of these changes, every published result on a synthetic trace of that kind stops being comparable.
GOLDEN = {
    (PROTEIN, "inputs/sequence"): "3b5c344bf0098056d521e8a471677ec0",
    (PROTEIN, "inputs/msa"): "16db7dde507afcb43f0f03ddc964da60",
    (PROTEIN, "activations/layer_0/single_repr"): "455f1a72775e9b676a7d4c8f7cd3be15",
    (PROTEIN, "activations/layer_0/pair_repr"): "5068bebb0fe181ebfaf36ed91b0505ef",
    (PROTEIN, "attention/layer_0"): "a0ba066373075031fd17c698a8b44600",
    (PROTEIN, "recycle/step_0/single_repr"): "ff6594ea74a09fb8905d7f7daae74d65",
    (PROTEIN, "recycle/step_0/pair_repr"): "f95dfe0e0f50c4a432fdd04014066125",
    (PROTEIN, "structure/atom_positions"): "e2727561c10198c484af75e239b0f2fe",
    (PROTEIN, "structure/atom_mask"): "5c8ed398051f0e4f178635cf104a6e7d",
    (PROTEIN, "structure/ptm"): "3b1fbc56e8889631f6b45ce6feb6bf09",
    (PROTEIN, "outputs/coordinates"): "e12ca4b855402f5cfbbfe98b7bf58cb6",
    (PROTEIN, "outputs/confidence_scores"): "bb4c9f4ca1f3abedd143b65b606c1b1d",
    (FLOAT32, "activations/layer_0/single_repr"): "b2817b5be60fa297f63dd84bb1551091",
    (FLOAT32, "activations/layer_0/pair_repr"): "d75150709e79d516e149fd4c36d6831e",
    (NOISE, "activations/layer_0/single_repr"): "fcecff4c644520812e9f7d00b2edeeee",
    (NOISE, "activations/layer_0/pair_repr"): "1ed4cb0cb1b7a46795a4baa94a3a443f",
    (NOISE, "attention/layer_0"): "7253f92af0b86afc10a5d82fac390984",
    (NOISE, "outputs/coordinates"): "8a598126c872bfaa4e5ac2dd7847e47e",
    (NOISE, "outputs/confidence_scores"): "f462f89d5f7d9a426e23c246fe199476",
}


def open_trace(text: str = "", n_res: int | None = 40) -> Trace:
    return source.open(text, n_res)


def read(trace: Trace, path: str) -> np.ndarray:
    blocks = list(trace.blocks(path))
    return blocks[0] if trace.manifest[path].shape == () else np.concatenate(blocks)


@pytest.fixture(scope="module")
def pair() -> np.ndarray:
    return read(open_trace(n_res=76), "activations/layer_0/pair_repr")


@pytest.mark.parametrize(("text", "path"), GOLDEN)
def test_the_bytes_never_change(text: str, path: str) -> None:
    assert digest(read(open_trace(text), path)) == GOLDEN[text, path]


def test_every_kind_of_tensor_has_a_golden_digest() -> None:
    for text in (PROTEIN, NOISE):
        assert {spec.path for spec in open_trace(text).manifest.tensors} == {p for t, p in GOLDEN if t == text}


@pytest.mark.parametrize("text", [PROTEIN, FLOAT32, NOISE])
def test_tensors_do_not_depend_on_the_order_in_which_they_are_read(text: str) -> None:
    trace = open_trace(text)
    paths = [spec.path for spec in trace.manifest.tensors]
    forwards = {path: digest(read(trace, path)) for path in paths}
    backwards = {path: digest(read(trace, path)) for path in reversed(paths)}
    assert forwards == backwards
    interleaved = zip(trace.blocks(paths[0]), open_trace(text).blocks(paths[0]), strict=True)
    assert all(np.array_equal(a, b) for a, b in interleaved)


@pytest.mark.parametrize("text", [PROTEIN, NOISE])
@pytest.mark.parametrize("block_bytes", [1, 40 * 8 * 4 * 5, 40 * 8 * 4 * 20])
def test_values_do_not_depend_on_the_size_of_blocks(
    text: str, block_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = open_trace(text)
    whole = {spec.path: read(trace, spec.path) for spec in trace.manifest.tensors}
    monkeypatch.setattr(stream, "BLOCK_BYTES", block_bytes)
    for spec in trace.manifest.tensors:
        blocks = list(trace.blocks(spec.path))
        if spec.shape:
            rows = stream.block_rows(spec.shape, np.dtype(spec.dtype).itemsize)
            assert [len(block) for block in blocks[:-1]] == [min(rows, spec.shape[0])] * (len(blocks) - 1)
        np.testing.assert_array_equal(read(trace, spec.path), whole[spec.path])


@pytest.mark.parametrize("text", [PROTEIN, FLOAT32, NOISE, PROTEIN + ",filled=both"])
@pytest.mark.parametrize("n_res", [1, TILE - 1, TILE + 1])
def test_blocks_fit_the_manifest_at_awkward_lengths(text: str, n_res: int) -> None:
    trace = open_trace(text, n_res)
    validate(trace.manifest)
    assert Manifest.from_json(trace.manifest.to_json()) == trace.manifest
    for spec in trace.manifest.tensors:
        for block in trace.blocks(spec.path):
            assert block.flags.c_contiguous
            assert block.shape[1:] == spec.shape[1:]
        array = read(trace, spec.path)
        assert (array.shape, array.dtype.name) == (spec.shape, spec.dtype)
        assert array.dtype.kind == "u" or np.isfinite(array).all()


def test_noise_has_the_tensors_of_the_seed_benchmark_in_its_order() -> None:
    paths = [spec.path for spec in open_trace("values=noise,layers=2").manifest.tensors]
    layers = [
        name
        for i in range(2)
        for name in (f"activations/layer_{i}/single_repr", f"activations/layer_{i}/pair_repr", f"attention/layer_{i}")
    ]
    assert paths == [*layers, "outputs/coordinates", "outputs/confidence_scores"]


def test_noise_is_standard_normal_with_full_mantissas() -> None:
    trace = open_trace("values=noise")
    x = read(trace, "activations/layer_3/pair_repr").astype(np.float64)
    assert abs(x.mean()) < 0.01
    assert x.std() == pytest.approx(1, abs=0.01)
    assert (x**4).mean() == pytest.approx(3, abs=0.1)
    mantissas = x.astype(np.float32).view(np.uint32)
    assert all(np.mean(mantissas >> bit & 1) == pytest.approx(0.5, abs=0.02) for bit in range(20))


def test_pair_values_have_the_statistics_of_a_trained_model(pair: np.ndarray) -> None:
    x = pair.astype(np.float64)
    std = np.sort(x.reshape(-1, 128).std(axis=0))
    assert x.mean() == pytest.approx(1.6, abs=0.5)
    assert x.std() == pytest.approx(33, rel=0.1)
    assert ((x - x.mean()) ** 4).mean() / x.var() ** 2 == pytest.approx(241, rel=0.2)
    assert -1200 < x.min() < -700
    assert 700 < x.max() < 1200
    assert 20 < std[-1] / std[0] < 40
    assert (std[-5:] ** 2).sum() / (std**2).sum() == pytest.approx(0.46, abs=0.07)


def test_pair_values_resemble_their_transpose_and_their_neighbours(pair: np.ndarray) -> None:
    x = pair.astype(np.float64) - pair.mean(axis=(0, 1), dtype=np.float64)
    variance = (x * x).mean(axis=(0, 1))
    symmetric = np.median((x * x.transpose(1, 0, 2)).mean(axis=(0, 1)) / variance)
    adjacent = np.median((x[:, :-1] * x[:, 1:]).mean(axis=(0, 1)) / variance)
    assert symmetric == pytest.approx(0.70, abs=0.06)
    assert adjacent == pytest.approx(0.13, abs=0.06)


def test_symmetry_holds_across_tiles_and_blocks() -> None:
    x = read(open_trace("pair_dim=64", n_res=64), "activations/layer_0/pair_repr").astype(np.float64)
    corner = x[:TILE, 2 * TILE :], x[2 * TILE :, :TILE].transpose(1, 0, 2)
    widest = np.argmax(x.std(axis=(0, 1)))
    assert np.corrcoef(corner[0][..., widest].ravel(), corner[1][..., widest].ravel())[0, 1] > 0.85


@pytest.mark.parametrize("path", ["activations/layer_0/pair_repr", "activations/layer_0/single_repr"])
def test_bf16_values_are_exact_in_bfloat16_and_never_zero(path: str) -> None:
    rounded = read(open_trace(), path)
    assert not (rounded.view(np.uint32) & 0xFFFF).any()
    assert (rounded != 0).all()
    exact = read(open_trace("dtype=float32"), path)
    assert (exact.view(np.uint32) & 0xFFFF).any()
    np.testing.assert_allclose(rounded, exact, rtol=2**-8)


def test_rounding_to_bfloat16_takes_the_nearest_value_and_leaves_no_zero() -> None:
    values = np.array([1 + 2**-8 + 2**-20, 1 + 2**-9, -1 - 2**-8 - 2**-20, 0.0], np.float32)
    round_to_bf16(values)
    np.testing.assert_array_equal(values, np.array([1 + 2**-7, 1, -1 - 2**-7, 2**-25], np.float32))


def test_attention_rows_sum_to_one_and_hold_no_zero() -> None:
    trace = open_trace(n_res=64)
    for i in range(12):
        maps = read(trace, f"attention/layer_{i}")
        assert (maps > 0).all()
        np.testing.assert_allclose(maps.sum(axis=-1, dtype=np.float64), 1, atol=2e-7)
    assert len(np.unique(maps.view(np.uint32) & 0xFF)) == 256


def test_no_two_rows_of_attention_share_their_noise() -> None:
    logs = np.log(read(open_trace("layers=1,heads=1", n_res=260), "attention/layer_0")[0].astype(np.float64))
    assert np.abs(np.corrcoef(logs) - np.eye(260)).max() < 0.9


@pytest.mark.parametrize("n_res", [50, 200])
def test_entropies_of_attention_spread_as_in_trained_models(n_res: int) -> None:
    trace = open_trace("", n_res)
    means = []
    for spec in trace.manifest.with_role(Role.ATTENTION):
        x = read(trace, spec.path).astype(np.float64)
        means.append(-(x * np.log(x)).sum(axis=-1).mean() / np.log(n_res))
    assert min(means) == pytest.approx(0.69, abs=0.06)
    assert max(means) == pytest.approx(0.94, abs=0.03)


def test_the_chain_is_smooth_and_its_parts_agree() -> None:
    trace = open_trace()
    trail = read(trace, "outputs/coordinates")
    atoms = read(trace, "structure/atom_positions")
    mask = read(trace, "structure/atom_mask")
    steps = np.diff(trail.astype(np.float64), axis=0)
    np.testing.assert_allclose(np.sqrt((steps**2).sum(axis=1)), 3.8, atol=1e-4)
    assert (steps[1:] * steps[:-1]).sum(axis=1).mean() > 0.4 * 3.8**2
    np.testing.assert_array_equal(atoms[:, 1], trail)
    assert (atoms[mask == 0] == 0).all()
    glycine = read(trace, "inputs/sequence") == ord("G")
    assert glycine.any()
    assert set(mask[:-1][glycine[:-1]].sum(axis=1)) == {4}
    assert 0.5 <= read(trace, "structure/ptm") <= 0.95


def test_the_alignment_starts_with_the_sequence() -> None:
    trace = open_trace(PROTEIN)
    msa, sequence = read(trace, "inputs/msa"), read(trace, "inputs/sequence")
    np.testing.assert_array_equal(msa[0], sequence)
    assert 0.4 < np.mean(msa[1:] == sequence) < 0.9
    assert ord("-") in msa[1:]


@pytest.mark.parametrize("text", [TINY, NOISE])
def test_filling_both_places_stores_equal_values(text: str) -> None:
    trace = open_trace(text + ",filled=both")
    for kind in ("single", "pair"):
        twice = [read(trace, path) for path in (f"activations/layer_0/{kind}_repr", f"{kind}/layer_0")]
        np.testing.assert_array_equal(*twice)


def test_layers_steps_kinds_and_seeds_differ() -> None:
    text = "layers=2,heads=2,hidden_dim=12,pair_dim=8,recycles=2"
    trace, other = open_trace(text), open_trace(text + ",seed=1")
    digests = [digest(read(t, s.path)) for t in (trace, other) for s in t.manifest.tensors if s.role != Role.STRUCTURE]
    assert len(set(digests)) == len(digests)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("", "synthetic:values=protein"),
        ("n_res=40", "synthetic:values=protein"),
        ("values=noise", "synthetic:values=noise"),
        ("values=noise,dtype=float32", "synthetic:values=noise"),
        ("seed=0,layers=12", "synthetic:values=protein"),
        ("seed=3,filled=both,layers=4", "synthetic:values=protein,layers=4,seed=3,filled=both"),
        ("dtype=float32,n_seq=2", "synthetic:values=protein,n_seq=2,dtype=float32"),
    ],
)
def test_labels_are_canonical_and_without_the_length(text: str, label: str) -> None:
    trace = open_trace(text)
    assert trace.label == label
    assert trace.manifest.provenance.source == label


def test_labels_open_the_same_trace() -> None:
    trace = open_trace("filled=both,layers=2,seed=5")
    assert open_trace(trace.label.removeprefix("synthetic:")).manifest == trace.manifest


@pytest.mark.parametrize(
    ("text", "n_res", "message"),
    [
        ("", None, "needs a number of residues"),
        ("n_res=8", 16, "given twice and differs: n_res=8 and size 16"),
        ("", 0, "n_res=0 of 'synthetic' must be a whole number from 1 to 1000000"),
        ("layers=0", 8, "layers=0 of 'synthetic' must be a whole number from 1 to 5000"),
        ("heads=two", 8, "heads=two of 'synthetic' must be a whole number from 1 to 1000000"),
        ("pair_dim=1.5", 8, "pair_dim=1.5 of 'synthetic' must be a whole number"),
        ("hidden_dim=-4", 8, "hidden_dim=-4 of 'synthetic' must be a whole number"),
        ("seed=-1", 8, "seed=-1 of 'synthetic' must be a whole number from 0 to 18446744073709551615"),
        (f"seed={2**64}", 8, "must be a whole number from 0 to 18446744073709551615"),
        ("values=protien", 8, "did you mean 'protein'"),
        ("dtype=int4", 8, "no choice of 'dtype' for 'synthetic' named 'int4'; choose one of bf16, float32"),
        ("filled=none", 8, "choose one of activations, both"),
        ("values=noise,n_seq=4", 8, "noise of 'synthetic' has no n_seq"),
        ("values=noise,recycles=1", 8, "noise of 'synthetic' has no recycles"),
        ("values=noise,dtype=bf16", 8, "noise of 'synthetic' is float32"),
        ("depth=3", 8, "has no parameter 'depth'"),
    ],
)
def test_bad_parameters_are_refused_in_one_sentence(text: str, n_res: int | None, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_trace(text, n_res)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_manifest_says_what_the_trace_is() -> None:
    trace = open_trace(PROTEIN)
    assert isinstance(trace, SyntheticTrace)
    metadata, provenance = trace.manifest.metadata, trace.manifest.provenance
    assert (metadata.num_layers, metadata.num_heads, metadata.num_residues, metadata.num_recycles) == (1, 2, 40, 1)
    assert metadata.timestamp is None
    assert (provenance.seed, provenance.trained, provenance.bf16_born) == (0, None, False)
    assert provenance.note is not None
    assert "bfloat16" in provenance.note


def test_portable_functions_agree_with_the_library_ones() -> None:
    x = np.linspace(-12, 12, 10001, dtype=np.float32)
    np.testing.assert_allclose(exp(x), np.exp(x.astype(np.float64)), rtol=2e-6)
    y = np.geomspace(1e-8, 1e8, 1001)
    np.testing.assert_allclose(log(y), np.log(y), rtol=1e-14, atol=1e-15)
    table = levels()
    np.testing.assert_array_equal(table, -table[::-1])
    assert table[-1] == pytest.approx(4.3248, abs=1e-3)  # the quantile of 1 - 2**-17
    assert table.astype(np.float64).std() == pytest.approx(1, abs=1e-3)


def test_a_sequence_of_values_can_be_entered_anywhere() -> None:
    whole, part = np.empty(100_000, np.float32), np.empty(40_000, np.float32)
    Stream(1, "x").fill_normal(whole)
    Stream(1, "x").fill_normal(part, 31_234)
    np.testing.assert_array_equal(part, whole[31_234:71_234])
