"""OpenFold3 on a complex, with few blocks: what is captured is what it computes, for each seed and sample."""

from __future__ import annotations

import numpy as np
import pytest

from harness.errors import UsageError
from harness.extensions.capture.complex_query import ComplexQuery, QueryChain
from harness.extensions.capture.models import openfold3
from harness.extensions.capture.session import Destination, record
from harness.foreign.conforming import schema_problems
from harness.formats.base import load_format
from tests.extensions.capture.fake import settings

if openfold3.missing():
    pytest.skip(f"the model {openfold3.missing()}", allow_module_level=True)

import torch

from harness.extensions.capture import openfold3 as adapter
from harness.extensions.capture.complex_features import molecules_of
from harness.extensions.capture.openfold3_complex import PreparedComplex

CHOSEN = settings(
    blocks=2,
    recycles=1,
    attention=("pair-bias",),
    steps=3,
    kept_steps=(0, 2),
    samples=2,
    seeds=(4, 7),
    diffusion_layers=(1,),
)
QUERY = ComplexQuery(
    name="q",
    chains=(
        QueryChain(name="A", entity="1", kind="protein", components=("ALA", "CYS", "GLY")),
        QueryChain(name="B", entity="1", kind="protein", components=("ALA", "CYS", "GLY")),
        QueryChain(name="L", entity="2", kind="ligand", components=("GOL",)),
        QueryChain(name="D", entity="3", kind="dna", components=("DA", "DT")),
        QueryChain(name="R", entity="4", kind="rna", components=("G",)),
        QueryChain(name="M", entity="5", kind="ligand", components=("MG",)),
    ),
)


@pytest.fixture(scope="module")
def model():
    configure = adapter.configure

    def smaller(chosen):
        config = configure(chosen)
        config.architecture.msa.msa_module.no_blocks = 1
        config.architecture.diffusion_module.diffusion_transformer.no_blocks = 2
        config.architecture.heads.pairformer_embedding.pairformer.no_blocks = 1
        return config

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adapter, "configure", smaller)
        return openfold3.open_complex(CHOSEN, QUERY)


@pytest.fixture(scope="module")
def collected(model):
    found = {}
    model.run(found.__setitem__)
    return found


def test_tokens_are_residues_and_atoms_of_ligands(model):
    chains = [(chain.name, chain.start, chain.stop) for chain in model.manifest.chains]
    assert chains == [
        ("A", 0, 3), ("B", 3, 6), ("L", 6, 12), ("D", 12, 14), ("R", 14, 15), ("M", 15, 16)
    ]  # fmt: skip
    # glycerol has six heavy atoms
    molecules = molecules_of(QUERY)
    assert molecules.bonds.sum() == 2 * 5 and not molecules.bonds[:6].any()
    assert len(molecules.token) == 2 * (5 + 6 + 4) + 6 + 21 + 20 + 23 + 1  # no OXT, no OP3
    assert [chain.kind for chain in model.manifest.chains][2:] == ["ligand", "dna", "rna", "ion"]


def test_hooks_change_nothing_and_give_what_the_model_gives(model, collected):
    bare = model.compute(7)
    with model.hooked("seed_7/", lambda path, array: None):
        hooked = model.compute(7)
    assert torch.equal(bare["atom_positions_predicted"], hooked["atom_positions_predicted"])
    positions = bare["atom_positions_predicted"]
    assert np.array_equal(collected["structure/seed_7/atom_positions"], positions.reshape(positions.shape[1:]).numpy())
    trunk = bare["zij_trunk"]
    assert np.array_equal(collected["pair/seed_7/layer_1"], trunk.reshape(trunk.shape[2:]).numpy())
    assert not np.array_equal(
        collected["structure/seed_4/atom_positions"], collected["structure/seed_7/atom_positions"]
    )
    assert not np.array_equal(*collected["structure/seed_4/atom_positions"])


def test_steps_and_layers_are_those_that_were_asked_for(model, collected):
    steps = {path.split("/")[2] for path in collected if path.startswith("diffusion/seed_4/step_")}
    assert steps == {"step_0", "step_2"}
    assert collected["diffusion/seed_4/step_2/layer_1/token_repr"].shape == (2, 16, 768)
    assert "diffusion/seed_4/step_2/layer_0/token_repr" not in collected
    levels = collected["diffusion/seed_4/noise_levels"]
    assert levels.shape == (3,) and (np.diff(levels) < 0).all()
    assert list(collected) == [spec.path for spec in model.manifest.tensors]


def test_archives_hold_it_and_conform(model, collected, tmp_path):
    places = [Destination(load_format(name), tmp_path / f"a.{end}") for name, end in (("hdf5", "h5"), ("npz", "npz"))]
    record(model, places)
    for place in places:
        assert schema_problems(place.path) == []


def test_a_model_of_another_version_is_named(model, monkeypatch):
    monkeypatch.delattr(model.model, "aux_heads")
    monkeypatch.setattr(adapter, "OpenFold3", lambda config: model.model)
    with pytest.raises(UsageError, match=r"has no aux_heads.*openfold3==0\.5\.0"):
        PreparedComplex(CHOSEN, QUERY)


@pytest.mark.parametrize(
    ("changes", "said"), [({"kept_steps": (3,)}, "no step 3"), ({"diffusion_layers": (99,)}, "no layer 99")]
)
def test_steps_and_layers_that_are_not_there_are_refused(model, monkeypatch, changes, said):
    from dataclasses import replace

    monkeypatch.setattr(adapter, "OpenFold3", lambda config: model.model)
    with pytest.raises(UsageError, match=said):
        PreparedComplex(replace(CHOSEN, **changes), QUERY)
