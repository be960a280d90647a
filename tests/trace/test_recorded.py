"""Real traces map into the schema with every value as it was recorded."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness.errors import UsageError
from harness.trace.manifest import validate
from harness.trace.recorded import af2_1ubq, antiberty, openfold_1ubq, vit_mnist
from harness.trace.schema import Role
from harness.trace.sources import open_trace
from harness.trace.stream import Trace, TraceSource

AF2 = "af2_1ubq/1ubq_af2_model_1_ptm.f32.npz"
OPENFOLD = "openfold_untrained/openfold2_1ubq_untrained_blocks4-7_pass1.npz"
VIT = "vit_mnist/vit_mnist_attention.npz"
ANTIBERTY = "antiberty/trastuzumab_vh_antiberty_0.1.3.npz"
SOURCES = {AF2: af2_1ubq, OPENFOLD: openfold_1ubq, VIT: vit_mnist, ANTIBERTY: antiberty}

KINDS = {
    "msa_row": "msa_row",
    "tri_start_mean": "triangle_start_mean",
    "tri_start_res18": "triangle_start_residue_18",
    "tri_end_mean": "triangle_end_mean",
    "tri_end_res18": "triangle_end_residue_18",
}


def values(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def fake_af2(n: int = 7) -> dict[str, np.ndarray]:
    return {
        "pair_layer_00": values(n, n, 5),
        "single_layer_00": values(n, 6),
        "atom_positions": values(n, 37, 3),
        "atom_mask": values(n, 37),
        "ptm": values(1),
        "provenance": np.array("where it came from"),
    }


def fake_openfold(n: int = 7, blocks: tuple[int, ...] = (4, 5, 10)) -> dict[str, np.ndarray]:
    data = {"r1/single": values(n, 4), "r1/sm_positions": values(8, n, 14, 3), "r1/sm_frames": values(8, n, 7)}
    for block in blocks:
        data |= {f"r1/block{block}/z": values(n, n, block), f"r1/block{block}/m_row0": values(n, block)}
        data |= {f"r1/block{block}/{key}": values(8 if key == "msa_row" else 4, n, n) + block for key in KINDS}
    data |= {"out/final_atom_positions": values(n, 37, 3), "out/final_atom_mask": values(n, 37)}
    data |= {"out/ptm_score": np.array(0.25, np.float32), "out/plddt": values(n)}
    data |= {"out/predicted_aligned_error": values(n, n), "out/distogram_logits": values(n, n, 64)}
    return data | {"meta_json": np.array(json.dumps({"blocks": 8, "weights": "untrained", "other": 1}))}


def fake_vit() -> dict[str, np.ndarray]:
    data = {f"attn_layer_{layer}": values(3, 4, 9, 9) + layer for layer in range(11)}
    data |= {"images": values(3, 1, 28, 28), "labels": np.array([3, 1, 2]), "preds": np.array([3, 1, 7])}
    return data


def fake_antiberty(n: int = 7) -> dict[str, np.ndarray]:
    data = {f"attention_layer_{layer}": values(3, n + 2, n + 2) + layer for layer in range(11)}
    data |= {f"hidden_state_{layer}": values(n + 2, 6) + layer for layer in range(12)}
    return data | {"sequence": np.frombuffer(b"ACDEFGH", np.uint8)}


FAKES: dict[str, Callable[[], dict[str, np.ndarray]]] = {AF2: fake_af2, OPENFOLD: fake_openfold, VIT: fake_vit}
FAKES[ANTIBERTY] = fake_antiberty


def mapping(relative: str, data: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """State, apart from the library, where each recorded array has to be found."""
    if relative == AF2:
        return {
            "single/layer_0": data["single_layer_00"],
            "pair/layer_0": data["pair_layer_00"],
            "structure/atom_positions": data["atom_positions"],
            "structure/atom_mask": data["atom_mask"],
            "structure/ptm": data["ptm"][0],
        }
    if relative == VIT:
        layers = [key for key in data if key.startswith("attn_")]
        return {f"attention/{key.removeprefix('attn_')}": data[key] for key in layers} | {
            "inputs/images": data["images"],
            "inputs/labels": data["labels"],
            "outputs/predictions": data["preds"],
        }
    if relative == ANTIBERTY:
        layers = range(sum(name.startswith("attention_layer_") for name in data))
        expected = {f"attention/layer_{layer}": data[f"attention_layer_{layer}"] for layer in layers}
        expected |= {f"activations/layer_{layer}/hidden_states": data[f"hidden_state_{layer + 1}"] for layer in layers}
        embedding = data["hidden_state_0"]
        return expected | {"inputs/sequence": data["sequence"], "activations/embedding/hidden_states": embedding}
    expected = {
        "recycle/step_1/single_repr": data["r1/single"],
        "structure/trajectory_positions": data["r1/sm_positions"],
        "structure/trajectory_frames": data["r1/sm_frames"],
        "structure/atom_positions": data["out/final_atom_positions"],
        "structure/atom_mask": data["out/final_atom_mask"],
        "structure/ptm": data["out/ptm_score"],
        "outputs/confidence_scores": data["out/plddt"],
        "outputs/predicted_aligned_error": data["out/predicted_aligned_error"],
        "outputs/distogram_logits": data["out/distogram_logits"],
    }
    for block in {key.split("/")[1].removeprefix("block") for key in data if "/block" in key}:
        expected[f"pair/layer_{block}"] = data[f"r1/block{block}/z"]
        expected[f"activations/layer_{block}/msa_first_row"] = data[f"r1/block{block}/m_row0"]
        for key, kind in KINDS.items():
            expected[f"attention/{kind}/layer_{block}"] = data[f"r1/block{block}/{key}"]
    return expected


def read(trace: Trace, path: str) -> np.ndarray:
    blocks = list(trace.blocks(path))
    return blocks[0] if trace.manifest[path].shape == () else np.concatenate(blocks)


def assert_maps(trace: Trace, expected: dict[str, np.ndarray]) -> None:
    validate(trace.manifest)
    assert {spec.path for spec in trace.manifest.tensors} == set(expected)
    for path, array in expected.items():
        found = read(trace, path)
        assert (found.dtype, found.shape) == (array.dtype, array.shape), path
        assert found.tobytes() == array.tobytes(), path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with small files of the real ones' names and keys."""
    for relative, fake in FAKES.items():
        (tmp_path / relative).parent.mkdir()
        np.savez(tmp_path / relative, **fake())
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    return tmp_path


def real(relative: str) -> dict[str, np.ndarray]:
    root = os.environ.get("HARNESS_DATA")
    if not root:
        pytest.skip("HARNESS_DATA does not name a folder of real data; the same mapping is tested on made-up files")
    if not (Path(root) / relative).is_file():
        pytest.skip(f"HARNESS_DATA has no file {relative}; the same mapping is tested on a made-up file")
    with np.load(Path(root) / relative) as file:
        return {name: file[name] for name in file.files}


@pytest.mark.parametrize("relative", SOURCES)
def test_every_recorded_array_is_found_under_its_name(relative: str, folder: Path) -> None:
    source = SOURCES[relative]
    assert source.missing() == ""
    assert_maps(open_trace(source.name), mapping(relative, FAKES[relative]()))


@pytest.mark.parametrize("relative", SOURCES)
def test_every_real_array_is_found_under_its_name(relative: str) -> None:
    data = real(relative)
    assert_maps(open_trace(SOURCES[relative].name), mapping(relative, data))


def test_what_is_said_of_alphafold(folder: Path) -> None:
    manifest = af2_1ubq.open("", None).manifest
    assert manifest.provenance.source == "where it came from"
    assert (manifest.provenance.trained, manifest.provenance.bf16_born) == (True, True)
    assert "first row of the MSA" in str(manifest.provenance.note)
    assert manifest.metadata.num_residues == 7


def test_what_is_said_of_openfold(folder: Path) -> None:
    manifest = openfold_1ubq.open("", None).manifest
    assert (manifest.provenance.trained, manifest.metadata.num_layers, manifest.metadata.num_heads) == (False, 3, 8)
    assert "UNTRAINED" in str(manifest.provenance.note)
    assert str(manifest.provenance.note).endswith("blocks 8; weights untrained")
    assert [spec.layer for spec in manifest.with_role(Role.PAIR)] == [4, 5, 10]
    assert manifest["structure/ptm"].shape == ()


def test_what_is_said_of_the_vision_transformer(folder: Path) -> None:
    manifest = vit_mnist.open("", None).manifest
    assert (manifest.metadata.num_layers, manifest.metadata.num_heads) == (11, 4)
    assert [spec.layer for spec in manifest.with_role(Role.ATTENTION)] == list(range(11))  # 10 after 9, not after 1
    assert manifest.metadata.num_residues is None
    assert manifest["inputs/labels"].dtype == "int64"


def test_what_is_said_of_the_language_model(folder: Path) -> None:
    manifest = antiberty.open("", None).manifest
    facts = manifest.metadata
    assert (facts.num_layers, facts.num_heads, facts.hidden_dim, facts.num_residues) == (11, 3, 6, 7)
    assert manifest.provenance.trained is True
    assert [spec.layer for spec in manifest.with_role(Role.ATTENTION)] == list(range(11))
    assert manifest["attention/layer_0"].axes == ("head", "token", "token")  # two tokens more than residues


def test_real_attention_of_the_language_model_is_a_softmax_over_tokens() -> None:
    data = real(ANTIBERTY)
    trace = antiberty.open("", None)
    assert (trace.manifest.metadata.num_layers, trace.manifest.metadata.num_residues) == (8, 120)
    for layer in range(8):
        np.testing.assert_allclose(read(trace, f"attention/layer_{layer}").sum(axis=-1), 1, atol=1e-6)
    assert bytes(data["sequence"]).startswith(b"EVQLVESGG")


def test_real_alphafold_values_are_bfloat16_as_its_provenance_says() -> None:
    data = real(AF2)
    assert not (data["pair_layer_00"].view(np.uint32) & 0xFFFF).any()
    assert not (data["single_layer_00"].view(np.uint32) & 0xFFFF).any()
    assert af2_1ubq.open("", None).manifest.metadata.num_residues == 76


@pytest.mark.parametrize("source", SOURCES.values(), ids=lambda source: source.name)
def test_without_data_it_is_said_what_to_set(source: TraceSource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    assert source.missing().startswith("needs real data: set HARNESS_DATA to the folder that holds ")
    with pytest.raises(UsageError, match=f"The trace '{source.name}' needs real data: set HARNESS_DATA"):
        source.open("", None)


@pytest.mark.parametrize("relative", SOURCES)
def test_a_missing_file_is_named(relative: str, folder: Path) -> None:
    (folder / relative).unlink()
    with pytest.raises(UsageError, match=f"needs the file {relative}, which is not in HARNESS_DATA="):
        SOURCES[relative].open("", None)


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04 and then nothing"])
def test_a_file_that_is_no_npz_is_named(content: bytes, folder: Path) -> None:
    (folder / AF2).write_bytes(content)
    with pytest.raises(UsageError, match=r"cannot be read as NPZ .*; fetch it again"):
        af2_1ubq.open("", None)


def test_a_file_that_is_truncated_is_named(folder: Path) -> None:
    data = (folder / AF2).read_bytes()
    for length in (len(data) // 3, len(data) - 30):
        (folder / AF2).write_bytes(data[:length])
        with pytest.raises(UsageError, match="cannot be read as NPZ"):
            af2_1ubq.open("", None)


def test_a_file_without_an_expected_array_is_named(folder: Path) -> None:
    data = fake_af2()
    del data["atom_mask"]
    np.savez(folder / AF2, **data)
    with pytest.raises(UsageError, match="atom_mask"):
        af2_1ubq.open("", None)


@pytest.mark.parametrize("text", ["layers=1", "nonsense"])
def test_recorded_traces_take_no_parameters(text: str, folder: Path) -> None:
    with pytest.raises(UsageError, match=r"takes none|form key=value"):
        af2_1ubq.open(text, None)
