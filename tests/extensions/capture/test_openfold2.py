"""OpenFold 2 from a checkout that OPENFOLD_SOURCE names; without one, what is refused before it is imported."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest

from harness.errors import HarnessError, UsageError
from harness.extensions.capture.models import openfold2
from harness.extensions.capture.session import Destination, record
from harness.formats.archive import open_archive, verify_archive
from harness.formats.base import load_format
from tests.extensions.capture.fake import query, settings

if openfold2.missing():
    pytest.skip(f"the model {openfold2.missing()}", allow_module_level=True)

import torch

from harness.extensions.capture import openfold_source
from harness.extensions.capture.openfold2 import config_name
from harness.extensions.capture.weights import Checkpoint

CHAIN = query("ACDEFGHIKLMN")


@pytest.fixture(scope="module")
def chosen():
    source = os.environ.get("OPENFOLD_SOURCE")
    if not source:
        pytest.skip("OPENFOLD_SOURCE names no checkout of OpenFold 2")
    return settings(
        blocks=2, attention=openfold2.attention, triangle=("mean", 3), source=Path(source), recycles=1, msa_depth=4
    )


@pytest.fixture(scope="module")
def model(chosen):
    return openfold2.open(chosen, CHAIN)


def test_hooked_and_unhooked_outputs_are_identical(model, chosen):
    bare = model.compute()
    taken = {}
    with model.trunk.hooked(chosen, 12, taken.__setitem__):
        hooked = model.compute()
    assert torch.equal(bare["pair"], hooked["pair"])
    assert torch.equal(bare["final_atom_positions"], hooked["final_atom_positions"])
    assert np.array_equal(taken["pair/layer_1"], bare["pair"].numpy())
    assert np.array_equal(taken["recycle/step_1/single_repr"], bare["single"].numpy())
    assert not np.array_equal(taken["pair/layer_1"], taken["recycle/step_0/pair/layer_1"])


def test_formats_hold_what_hooks_collect_in_memory(model, tmp_path):
    collected = {}
    model.run(collected.__setitem__)
    files = {"hdf5": "a.h5", "zarr-slim": "a.slim.zarr"}
    destinations = [Destination(load_format(name), tmp_path / file) for name, file in files.items()]
    record(model, destinations)
    for destination in destinations:
        assert verify_archive(destination.path) == []
        with open_archive(destination.path) as (_, reader, manifest):
            assert manifest.provenance.trained is False and "OpenFold 2" in manifest.provenance.source
            for path, array in collected.items():
                assert reader.read(path).tobytes() == array.tobytes(), path
    assert collected["structure/atom_positions"].shape == (12, 37, 3)
    for path, array in collected.items():
        assert np.isfinite(array).all(), path
        if "attention/" in path:
            assert np.allclose(array.sum(axis=-1), 1, atol=1e-5), path


@pytest.mark.parametrize(
    ("option", "said"), [("chunk_size", "switch chunking off"), ("use_lma", "0 times in one call")]
)
def test_attention_that_cannot_be_seen_is_refused(model, tmp_path, monkeypatch, option, said):
    monkeypatch.setitem(model.model.globals, option, 4 if option == "chunk_size" else True)
    with pytest.raises(HarnessError, match=said):
        record(model, [Destination(load_format("npz"), tmp_path / "a.npz")])
    assert list(tmp_path.iterdir()) == []


OLDER = {
    "pair_stack.tri_": "core.tri_",
    "pair_stack.pair_transition": "core.pair_transition",
    ".msa_transition": ".core.msa_transition",
    ".outer_product_mean": ".core.outer_product_mean",
    "ipa.linear_q_points.linear": "ipa.linear_q_points",
    "ipa.linear_kv_points.linear": "ipa.linear_kv_points",
}


@pytest.mark.parametrize("names", [{}, OLDER], ids=["of today", "of OpenFold 1"])
def test_a_checkpoint_is_loaded_under_names_old_and_new(model, chosen, tmp_path, names):
    state = {}
    for name, value in model.model.state_dict().items():
        for new, old in names.items():
            name = name.replace(new, old)
        state[name] = value
    torch.save({"ema": {"params": state}}, tmp_path / "x.pt")
    loaded = openfold2.open(dataclasses.replace(chosen, checkpoint=tmp_path / "x.pt"), CHAIN)
    assert loaded.manifest.provenance.trained is True
    for name, value in model.model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], value), name


def test_a_folder_that_is_no_checkout_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"is not a checkout of OpenFold 2: it has no openfold/model/primitives.py"):
        openfold2.open(settings(attention=(), source=tmp_path), CHAIN)


def test_the_configuration_has_the_parts_of_the_checkpoint():
    def named(*names: str) -> str:
        return config_name(Checkpoint(Path("x.pt"), "", {name: torch.zeros(1) for name in names}))

    assert config_name(None) == "model_3_ptm"
    assert named("evoformer.linear.weight") == "model_3"
    assert named("evoformer.linear.weight", "aux_heads.tm.linear.weight") == "model_3_ptm"
    assert named("template_angle_embedder.linear_1.weight") == "model_1"


def test_the_stand_in_for_the_kernel_is_a_softmax_in_place():
    scores = torch.randn(2, 3, 5)
    expected = torch.softmax(scores, dim=-1)
    openfold_source.softmax_in_place(scores, 6, 5)
    assert torch.equal(scores, expected)
