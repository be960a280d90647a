"""Fidelity: the statistics are right, and synthetic tensors have those of real ones."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from harness.cli import main
from harness.errors import UsageError
from harness.extensions.fidelity import comparison as fidelity
from harness.extensions.fidelity.comparison import (
    PUBLISHED,
    StatisticRow,
    attention_statistics,
    compare,
    compression_ratios,
    measure,
    pair_statistics,
    single_statistics,
)
from harness.trace.manifest import Manifest, Provenance
from harness.trace.schema import Role, tensor
from harness.trace.sources import open_trace
from harness.trace.stream import MemoryTrace, Trace
from harness.trace.synthetic import source


def memory_trace(arrays: dict[str, np.ndarray]) -> Trace:
    specs = tuple(tensor(path, array.shape, array.dtype) for path, array in arrays.items())
    return MemoryTrace("recorded", Manifest(tensors=specs, provenance=Provenance(source="test")), arrays)


def by_statistic(rows: list[StatisticRow], role: Role) -> dict[str, StatisticRow]:
    return {row.statistic: row for row in rows if row.role is role}


@pytest.fixture(scope="module")
def rows() -> list[StatisticRow]:
    return compare(source.open("", 96))


def test_synthetic_tensors_compress_like_real_ones(rows: list[StatisticRow]) -> None:
    ratios = [row for row in rows if row.statistic.startswith("ratio") and row.role is not Role.SINGLE]
    assert len(ratios) == 6
    for row in ratios:
        assert abs(row.relative_difference) < 0.05, row


@pytest.mark.parametrize(
    ("role", "statistic", "limit"),
    [
        (Role.PAIR, "standard deviation", 0.1),
        (Role.PAIR, "kurtosis", 0.2),
        (Role.PAIR, "widest channel's standard deviation", 0.2),
        (Role.PAIR, "narrowest channel's standard deviation", 0.25),
        (Role.PAIR, "top 5 channels' share of the variance", 0.15),
        (Role.PAIR, "correlation of (i, j) with (j, i)", 0.1),
        (Role.PAIR, "fraction of zeros", 0),
        (Role.PAIR, "fraction exact in bfloat16", 0),
        (Role.SINGLE, "standard deviation", 0.1),
        (Role.SINGLE, "kurtosis", 0.35),
        (Role.SINGLE, "widest channel's standard deviation", 0.2),
        (Role.ATTENTION, "lowest entropy of a layer", 0.12),
        (Role.ATTENTION, "highest entropy of a layer", 0.03),
        (Role.ATTENTION, "fraction of zeros", 0),
    ],
)
def test_synthetic_statistics_are_near_the_published_ones(
    rows: list[StatisticRow], role: Role, statistic: str, limit: float
) -> None:
    row = by_statistic(rows, role)[statistic]
    assert row.published
    assert abs(row.relative_difference) <= limit, row


def test_every_published_figure_is_compared(rows: list[StatisticRow]) -> None:
    for role, figures in PUBLISHED.items():
        assert list(by_statistic(rows, role)) == list(figures)


def test_noise_is_seen_not_to_be_like_a_protein() -> None:
    rows = by_statistic(compare(source.open("values=noise,layers=1", 80)), Role.PAIR)
    assert rows["kurtosis"].relative_difference < -0.9
    assert rows["ratio of blosc zstd 3, byte shuffle"].relative_difference < -0.5


def test_a_trace_equals_itself() -> None:
    trace = source.open("layers=2,pair_dim=16", 40)
    rows = compare(trace, trace, trace)
    assert {row.role for row in rows} == {Role.PAIR, Role.SINGLE, Role.ATTENTION}
    assert all(row.relative_difference == 0 and not row.published for row in rows)


def test_real_traces_are_cut_to_the_same_length() -> None:
    small, large = source.open("layers=1,pair_dim=16", 30), source.open("layers=1,pair_dim=16", 60)
    figures = measure(large, Role.PAIR, 30)
    assert {row.statistic: row.real for row in compare(small, large) if row.role is Role.PAIR} == figures


def test_roles_are_taken_from_where_they_are() -> None:
    generator = np.random.default_rng(0)
    pair = memory_trace({"pair/layer_0": generator.normal(size=(8, 8, 4)).astype(np.float32)})
    synthetic = source.open("layers=1,pair_dim=4", 8)
    rows = compare(synthetic, pair)
    published = {row.role: row.published for row in rows}
    assert published == {Role.PAIR: False, Role.SINGLE: True, Role.ATTENTION: True}
    with pytest.raises(UsageError, match="'recorded' has no attention tensor"):
        compare(synthetic, pair, pair)
    assert {row.role for row in compare(pair)} == {Role.PAIR}


def test_pair_statistics_of_known_values() -> None:
    x = np.zeros((4, 4, 1), np.float32)
    x[..., 0] = np.arange(4)[:, None] + np.arange(4)
    statistics = pair_statistics(x)
    assert statistics["mean"] == 3
    assert statistics["standard deviation"] == pytest.approx(math.sqrt(2.5))
    assert (statistics["minimum"], statistics["maximum"]) == (0, 6)
    assert statistics["correlation of (i, j) with (j, i)"] == pytest.approx(1)
    assert statistics["top 5 channels' share of the variance"] == pytest.approx(1)
    assert statistics["fraction of zeros"] == 1 / 16
    assert statistics["fraction exact in bfloat16"] == 1
    assert pair_statistics(np.triu(np.ones((4, 4)))[..., None] - 0.5)["correlation of (i, j) with (j, i)"] < 0


def test_single_statistics_of_known_values() -> None:
    statistics = single_statistics(np.array([[1, 10], [3, 30]], np.float32) + np.float32(0.001))
    assert statistics["narrowest channel's standard deviation"] == pytest.approx(1)
    assert statistics["widest channel's standard deviation"] == pytest.approx(10)
    assert statistics["fraction exact in bfloat16"] == 0


def test_attention_statistics_of_known_values() -> None:
    even = np.full((2, 4, 4), 0.25, np.float32)
    sharp = np.broadcast_to(np.array([1, 0, 0, 0], np.float32), (2, 4, 4))
    statistics = attention_statistics([even, sharp])
    assert statistics["highest entropy of a layer"] == pytest.approx(1)
    assert statistics["lowest entropy of a layer"] == pytest.approx(0, abs=1e-9)
    assert statistics["mean entropy"] == pytest.approx(0.5)
    assert statistics["largest deviation of a row's sum from 1"] == 0
    assert statistics["fraction of zeros"] == pytest.approx(0.375)


def test_bfloat16_that_is_stored_as_its_bits_is_measured_as_numbers() -> None:
    pytest.importorskip("harness.extensions.complexes", reason="the trace is that of another extension")
    text = "synthetic:model=af3,layers=1,heads=1,steps=1,diffusion_layers=1,diffusion_dim=4,dtype="
    bits, floats = (measure(open_trace(text + dtype, 24), Role.PAIR, 24) for dtype in ("bfloat16", "float32"))
    for name in ("mean", "standard deviation", "kurtosis"):
        assert bits[name] == pytest.approx(floats[name], rel=0.02), name


def test_compression_is_measured_in_chunks_of_part_of_an_array(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fidelity, "COMPRESSION_BYTES", 8192)
    monkeypatch.setattr(fidelity, "CHUNK_BYTES", 4096)
    noise = np.random.default_rng(0).normal(size=4096).astype(np.float32)
    noise[:2048] = 0
    ratios = compression_ratios(noise)
    assert len(ratios) == 3
    assert min(ratios.values()) > 20  # the second half, which does not compress, is not part of it


@pytest.mark.parametrize(
    ("synthetic", "real", "difference"), [(3, 2, 0.5), (1, -2, 1.5), (0, 0, 0), (1, 0, math.inf), (-1, 0, -math.inf)]
)
def test_relative_difference(synthetic: float, real: float, difference: float) -> None:
    row = StatisticRow(role=Role.PAIR, statistic="mean", synthetic=synthetic, real=real, published=True)
    assert row.relative_difference == difference


def test_the_command_shows_every_statistic(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fidelity", "--trace", "synthetic:n_res=48,layers=1"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "kurtosis" in out and "ratio of deflate 6" in out and "entropy" in out
    assert main(["fidelity", "--trace", "synthetic:n_res=48,layers=1", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["role"] for row in rows} >= {"pair", "attention"} and all("relative_difference" in row for row in rows)
