"""OpenFold3 on a complex, with few blocks: what is captured is what it computes, for each seed and sample."""

from __future__ import annotations

import numpy as np
import pytest

from harness.errors import UsageError
from harness.extensions.capture.complex_query import ComplexQuery, QueryChain
from harness.extensions.capture.models import openfold3
from harness.extensions.capture.session import Destination, record
from harness.foreign.conforming import schema_problems
from harness.formats.archive import open_archive
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


def test_positions_and_activations_are_those_of_the_modules(model, collected, monkeypatch):
    """The same run without hooks: each module's own ``forward`` says what went in and came out."""
    module = model.model.diffusion_module
    block, steps = module.diffusion_transformer.blocks[1], []
    whole, inner = module.forward, block.forward

    def forward(*arguments, **given):
        steps.append({"atom_positions": given["xl_noisy"].clone(), "level": float(given["t"])})
        output = whole(*arguments, **given)
        steps[-1]["denoised_positions"] = output.clone()
        return output

    def of_block(*arguments, **given):
        output = inner(*arguments, **given)
        steps[-1]["layer_1/token_repr"] = output.clone()
        return output

    monkeypatch.setattr(module, "forward", forward)
    monkeypatch.setattr(block, "forward", of_block)
    model.compute(7)
    assert len(steps) == 3
    assert collected["diffusion/seed_7/noise_levels"].tolist() == pytest.approx([step.pop("level") for step in steps])
    for number in CHOSEN.kept_steps:
        for name, value in steps[number].items():
            kept = collected[f"diffusion/seed_7/step_{number}/{name}"]
            assert np.array_equal(kept, value.reshape(kept.shape).numpy()), name


def test_the_structure_follows_from_the_last_step(model, collected):
    """The last line of algorithm 18 on what was kept: it is of the same step, sample and frame."""
    noisy, denoised = (collected[f"diffusion/seed_4/step_2/{kind}_positions"] for kind in ("atom", "denoised"))
    level, end = collected["diffusion/seed_4/noise_levels"][2], 16 * 4e-4
    scale = model.model.sample_diffusion.step_scale
    expected = noisy + scale * (end - level) * (noisy - denoised) / level
    assert np.allclose(collected["structure/seed_4/atom_positions"], expected, rtol=1e-4, atol=1e-3)


FORMATS = ("hdf5", "npz", "zarr", "zarr-slim", "hdf5-slim", "npz-slim")


def test_archives_hold_what_is_collected_in_memory_and_conform(model, collected, tmp_path):
    places = [Destination(format, tmp_path / f"a{format.suffix}") for format in map(load_format, FORMATS)]
    record(model, places)
    for place in places:
        assert schema_problems(place.path) == []
        with open_archive(place.path) as (_, reader, manifest):
            assert [spec.path for spec in manifest.tensors] == list(collected)
            for path, array in collected.items():
                kept = reader.read(path)
                assert (kept.dtype, kept.shape) == (array.dtype, array.shape), path
                assert kept.tobytes() == array.tobytes(), (place.path.name, path)


def test_a_model_of_another_version_is_named(model, monkeypatch):
    monkeypatch.delattr(model.model, "aux_heads")
    monkeypatch.setattr(adapter, "OpenFold3", lambda config: model.model)
    with pytest.raises(UsageError, match=r"has no aux_heads.*of 0\.5\.0 .*openfold3==0\.5\.0"):
        PreparedComplex(CHOSEN, QUERY)


@pytest.mark.parametrize(
    ("changes", "said"), [({"kept_steps": (3,)}, "no step 3"), ({"diffusion_layers": (99,)}, "no layer 99")]
)
def test_steps_and_layers_that_are_not_there_are_refused(model, monkeypatch, changes, said):
    from dataclasses import replace

    monkeypatch.setattr(adapter, "OpenFold3", lambda config: model.model)
    with pytest.raises(UsageError, match=said):
        PreparedComplex(replace(CHOSEN, **changes), QUERY)
