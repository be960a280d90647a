"""Synthetic complexes: tables that fit, values that do not change, every format alike, and parameters refused."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from harness.errors import UsageError
from harness.extensions.complexes.synthetic import kept_steps, noise_levels
from harness.formats.archive import open_archive, write_archive
from harness.formats.base import load_format
from harness.trace.complexes import texts
from harness.trace.sources import open_trace
from harness.trace.stream import digest_blocks, read_whole

SMALL = "synthetic:model=af3,layers=1,heads=2,single_dim=8,pair_dim=4,steps=2,diffusion_layers=2,diffusion_dim=8"


def test_tables_tensors_and_chains_are_of_one_complex():
    trace = open_trace(f"{SMALL},samples=2", 30)
    manifest = trace.manifest
    assert [(c.name, c.kind, c.stop - c.start) for c in manifest.chains] == [
        ("A", "protein", 8), ("B", "protein", 7), ("C", "ligand", 15)
    ]  # fmt: skip
    atoms = read_whole(trace, "inputs/atoms/token")
    assert set(atoms.tolist()) == set(range(30)) and (np.diff(atoms) >= 0).all()
    assert texts(read_whole(trace, "inputs/chains/name")) == ["A", "B", "C"]
    assert manifest["diffusion/step_199/layer_1/token_repr"].axes == ("sample", "token", "channel")
    assert manifest["pair/layer_0"].values == "bfloat16"
    assert manifest.length == 30
    for spec in manifest.tensors:
        assert read_whole(trace, spec.path).shape == spec.shape, spec.path


def test_values_have_the_ranges_of_what_they_stand_for():
    trace = open_trace(SMALL, 30)
    windows = read_whole(trace, "attention/atom/layer_0")
    assert windows.shape[2:] == (32, 128) and np.allclose(windows.sum(axis=-1), 1, atol=1e-6)
    assert (windows[:, 0, :, :48] == 0).all()  # no atoms lie before the first
    assert np.allclose(read_whole(trace, "attention/pair_bias/layer_0").sum(axis=-1), 1, atol=1e-6)
    plddts = read_whole(trace, "outputs/atom_plddts")
    assert plddts.min() >= 20 and plddts.max() <= 100
    last, first = (read_whole(trace, f"diffusion/step_{k}/atom_positions").std() for k in (199, 0))
    assert first > 1000 > last


def test_the_noise_is_that_at_which_the_sampler_of_the_paper_calls_the_model():
    levels = noise_levels()
    parts = np.arange(201) / 200  # algorithm 18 and section 3.7.1 of AlphaFold3's supplement
    schedule = 16 * (160 ** (1 / 7) + parts * (4e-4 ** (1 / 7) - 160 ** (1 / 7))) ** 7
    expected = [before * (1.8 if after > 1 else 1) for before, after in pairwise(schedule)]
    assert levels == pytest.approx(expected, rel=1e-6)
    assert (np.diff(levels) < 0).all()
    assert kept_steps(1) == [199] and kept_steps(5) == [0, 49, 99, 149, 199] and kept_steps(200) == list(range(200))


@pytest.mark.parametrize("name", ["npz", "hdf5", "zarr", "zarr-slim", "hdf5-slim", "npz-slim"])
def test_every_format_holds_it_bit_for_bit(name, tmp_path):
    trace = open_trace(f"{SMALL},seeds=2", 12)
    backend = load_format(name)
    manifest = write_archive(trace, backend, tmp_path / f"a{backend.suffix}")
    for spec in trace.manifest.tensors:
        assert manifest.digests[spec.path] == digest_blocks(trace.blocks(spec.path)), spec.path
    with open_archive(tmp_path / f"a{backend.suffix}") as (_, _, stored):
        assert stored.chains == trace.manifest.chains


@pytest.mark.parametrize(
    ("text", "tokens", "said"),
    [
        ("synthetic:model=af4", 8, "af4"),
        ("synthetic:model=af3", None, "needs a number of tokens"),
        ("synthetic:model=af3,tokens=9", 8, "given twice"),
        ("synthetic:model=af3,chains=9", 8, "need at least 10 tokens"),
        ("synthetic:model=af3,n_seq=9", 8, "n_seq"),
        ("synthetic:model=af3,steps=0", 8, "steps"),
        ("synthetic:model=af3,steps=1000", 8, "steps"),
    ],
)
def test_parameters_that_cannot_be_are_refused(text, tokens, said):
    with pytest.raises(UsageError, match=said):
        open_trace(text, tokens)


@pytest.mark.parametrize(
    ("tokens", "more"), [(2, "chains=1"), (10, "chains=9"), (7, "chains=1,ligands=3"), (5, "ligands=0")]
)
def test_few_tokens_are_shared_by_all_chains(tokens, more):
    chains = open_trace(f"{SMALL},{more}", tokens).manifest.chains
    assert all(chain.stop > chain.start for chain in chains) and chains[-1].stop == tokens


def test_seeds_share_no_values_but_the_schedule():
    trace = open_trace(f"{SMALL},seeds=2,samples=2", 12)
    of_first = [spec.path for spec in trace.manifest.tensors if "/seed_0/" in spec.path]
    assert of_first
    for path in of_first:
        same = np.array_equal(read_whole(trace, path), read_whole(trace, path.replace("/seed_0/", "/seed_1/")))
        assert same is path.endswith("noise_levels"), path
    structure = read_whole(trace, "structure/seed_1/atom_positions")
    last = read_whole(trace, "diffusion/seed_1/step_199/atom_positions")
    assert np.abs(structure - last).max() < 0.1  # steps and structure are of one sample
