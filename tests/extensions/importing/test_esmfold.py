"""The folder of an ESMFold run: every tensor under the schema's name, without the batch, bit for bit."""

from __future__ import annotations

import json
import os
import pickle

import pytest

from harness.trace.manifest import Metadata
from harness.trace.schema import Role
from tests.outputs import HEADS, N, esmfold, same, torch_file, values

LAYER = "trace/attention/layer_009.pt"


def test_a_run_is_mapped_whole(tmp_path, bring):
    folder, expected = esmfold(tmp_path / "run")
    found, manifest = bring(folder)
    same(found, expected)
    assert manifest.metadata == Metadata(
        model_name="facebook/esmfold_v1",
        num_layers=2,
        num_heads=HEADS,
        num_residues=N,
        input_description="FASTA whose SHA-256 begins with 0123abcd",
        timestamp="2026-03-01T10:00:00+00:00",
    )
    assert manifest.provenance.seed == 5 and manifest.provenance.trained is None
    assert "left out (no tensor of the trace): structure/predicted.pdb" in manifest.provenance.note
    assert set(manifest.provenance.files) == {
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.suffix in (".pt", ".json")
    }
    maps = [spec.path for spec in manifest.with_role(Role.ATTENTION)]
    assert maps == ["attention/layer_9", "attention/layer_10", "attention/ipa_step_0/layer_7"]


def test_a_run_without_facts_says_nothing(tmp_path, bring):
    folder, expected = esmfold(tmp_path / "run")
    (folder / "meta.json").unlink()
    (folder / "trace" / "index.json").unlink()
    found, manifest = bring(folder, "--kind", "esmfold-trace")
    same(found, expected)
    assert manifest.metadata == Metadata(num_residues=N) and manifest.provenance.seed is None


def test_atoms_in_groups_of_fourteen_keep_that_name(tmp_path, bring):
    folder, _ = esmfold(tmp_path / "run")
    torch_file(folder / "structure" / "predicted.pt", values(1, N, 14, 3))
    found, _ = bring(folder)
    assert found["structure/atom14_positions"].tobytes() == values(1, N, 14, 3).tobytes()
    assert "structure/atom_positions" not in found


def _index(folder, change):
    path = folder / "trace" / "index.json"
    content = json.loads(path.read_text())
    change(content["attention"]["layer_009"])
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("damage", "parts"),
    [
        (lambda f: (f / LAYER).unlink(), ["index.json lists trace/attention/layer_009.pt, which is not there"]),
        (lambda f: _index(f, lambda row: row.update(shape=[1, 2, 3, 3])), ["states shape [1, 2, 3, 3]"]),
        (lambda f: (f / "meta.json").write_text("{"), ["meta.json", "JSON is truncated or damaged"]),
        (lambda f: (f / "meta.json").write_text("[]"), ["meta.json has no metadata"]),
        (lambda f: (f / "trace/index.json").write_bytes(b"\xff"), ["index.json", "JSON is truncated or damaged"]),
        (lambda f: (f / LAYER).write_bytes((f / LAYER).read_bytes()[:-50]), [LAYER, "truncated, damaged"]),
        (lambda f: (f / LAYER).write_bytes(b""), [LAYER, "truncated, damaged"]),
        (lambda f: torch_file(f / LAYER, values(1, 2, HEADS, N, N)), [LAYER, "a batch of 2 sequences"]),
        (lambda f: torch_file(f / LAYER, values(1, N, N)), [LAYER, "expected one axis name for each of 2 axes"]),
        (lambda f: torch_file(f / "trace/attention/layer_9.pt", values(1, HEADS, N, N)), ["remove one of the two"]),
        (lambda f: torch_file(f / "trace/trunk/s_s.pt", values(1, N + 1, 6)), [f"expected {N} residues"]),
        (lambda f: torch_file(f / LAYER, values(1, 3), pickle.dumps({"a": 1}, 2)), [LAYER, "holds a dict"]),
    ],
)
def test_a_broken_run_is_refused(tmp_path, refused, damage, parts):
    folder, _ = esmfold(tmp_path / "run")
    damage(folder)
    refused(folder, 1, *parts)


def test_a_malicious_torch_file_is_refused_and_not_run(tmp_path, refused):
    class Runs:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'witness'}",)

    folder, _ = esmfold(tmp_path / "run")
    torch_file(folder / LAYER, values(1, 3), pickle.dumps(Runs(), 2))
    refused(folder, 1, LAYER, "asks for posix.system")
    assert not (tmp_path / "witness").exists()


def test_a_sequence_length_that_is_not_the_tensors_is_refused(tmp_path, refused):
    folder, _ = esmfold(tmp_path / "run")
    meta = json.loads((folder / "meta.json").read_text()) | {"sequence_length": N + 1}
    (folder / "meta.json").write_text(json.dumps(meta))
    refused(folder, 1, f"expected {N + 1} residues")
