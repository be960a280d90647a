"""OpenFold3's whole model, with few blocks everywhere: what its Pairformer computes is captured, and not changed."""

from __future__ import annotations

import numpy as np
import pytest

from harness.errors import UsageError
from harness.extensions.capture.models import openfold3
from harness.extensions.capture.session import Destination, record
from harness.formats.archive import open_archive, verify_archive
from harness.formats.base import load_format
from harness.trace.structure import ATOMS
from tests.extensions.capture.fake import query, settings

if openfold3.missing():
    pytest.skip(f"the model {openfold3.missing()}", allow_module_level=True)

import torch
from openfold3.core.data.resources.residues import STANDARD_RESIDUES_WITH_GAP_1, STANDARD_RESIDUES_WITH_GAP_3

from harness.extensions.capture import openfold3 as adapter
from harness.extensions.capture.openfold3_features import atoms_of, features

CHOSEN = settings(blocks=2, attention=openfold3.attention, steps=2)
CHAIN = query("ACDEFGHIKLMN")


@pytest.fixture(scope="module")
def model():
    configure = adapter.configure

    def smaller(chosen):
        config = configure(chosen)
        config.architecture.msa.msa_module.no_blocks = 1
        config.architecture.diffusion_module.diffusion_transformer.no_blocks = 1
        config.architecture.heads.pairformer_embedding.pairformer.no_blocks = 1
        return config

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adapter, "configure", smaller)
        return openfold3.open(CHOSEN, CHAIN)


@pytest.fixture(scope="module")
def collected(model):
    found = {}
    model.run(found.__setitem__)
    return found


def test_hooked_and_unhooked_outputs_are_identical(model):
    bare = model.compute()
    with model.trunk.hooked(CHOSEN, 12, lambda path, array: None):
        hooked = model.compute()
    assert bare.keys() == hooked.keys()
    for name, value in bare.items():
        assert torch.equal(torch.as_tensor(value), torch.as_tensor(hooked[name])), name


def test_the_trace_is_that_of_the_pairformer(model, collected):
    output = model.compute()
    last = {"single_repr": output["si_trunk"], "pair_repr": output["zij_trunk"]}
    for name, value in last.items():
        assert np.array_equal(collected[f"recycle/step_1/{name}"], value.reshape(value.shape[2:]).numpy())
    assert np.array_equal(collected["pair/layer_1"], collected["recycle/step_1/pair_repr"])
    assert np.array_equal(collected["single/layer_1"], collected["recycle/step_1/single_repr"])
    assert not np.array_equal(collected["single/layer_0"], collected["single/layer_1"])
    for path, array in collected.items():
        assert np.isfinite(array).all(), path
        if "attention/" in path:
            assert np.allclose(array.sum(axis=-1), 1, atol=1e-5), path
    assert collected["attention/pair_bias/layer_0"].shape == (16, 12, 12)


def test_formats_hold_what_hooks_collect_in_memory(model, collected, tmp_path):
    destinations = [
        Destination(load_format("hdf5"), tmp_path / "a.h5"),
        Destination(load_format("npz"), tmp_path / "a.npz"),
    ]
    record(model, destinations)
    for destination in destinations:
        assert verify_archive(destination.path) == []
        with open_archive(destination.path) as (_, reader, manifest):
            assert manifest.tensor_shapes.keys() == collected.keys()
            for path, array in collected.items():
                assert reader.read(path).tobytes() == array.tobytes(), path


def test_atoms_are_where_their_types_say(collected):
    atoms = atoms_of("GA")
    assert atoms.names == ("N", "CA", "C", "O", "N", "CA", "C", "O", "CB")
    assert atoms.residue.tolist() == [0] * 4 + [1] * 5  # OpenFold3 has no OXT
    places = atoms.scattered(np.arange(1, 10, dtype=np.float32))
    assert places.shape == (2, 37) and places[1, ATOMS.index("CB")] == 9 and places[0, ATOMS.index("CB")] == 0
    mask, positions = collected["structure/atom_mask"], collected["structure/atom_positions"]
    assert not positions[mask == 0].any() and positions[mask == 1].any(axis=-1).all()
    confidence = collected["outputs/confidence_scores"]
    assert confidence.shape == (12,) and (confidence > 0).all() and (confidence < 100).all()


def test_residue_types_are_those_of_openfold3():
    chain = query("ARNDCQEGHILKMFPSTWYVX")
    made = features(chain, atoms_of(chain.sequence))
    types = made["restype"][0].argmax(dim=-1)
    assert [STANDARD_RESIDUES_WITH_GAP_1[k] for k in types] == list(chain.sequence)
    assert STANDARD_RESIDUES_WITH_GAP_3[types[0]] == "ALA" and STANDARD_RESIDUES_WITH_GAP_1[-1] == "-"
    assert made["msa"].shape[-1] == len(STANDARD_RESIDUES_WITH_GAP_1)
    assert made["num_atoms_per_token"][0].sum() == made["ref_pos"].shape[1] == made["atom_mask"].shape[1]


def test_a_model_without_the_modules_that_are_captured_is_refused(monkeypatch):
    monkeypatch.setattr(adapter, "OpenFold3", lambda config: torch.nn.Module())
    with pytest.raises(
        UsageError, match=r"has no pairformer_stack\.blocks\.0\.\S+, where tensors of 0\.5\.0 are taken"
    ):
        openfold3.open(CHOSEN, CHAIN)
