"""The real modules of openfold3: what is captured is what they compute, and capturing changes nothing in it."""

from __future__ import annotations

import hashlib
import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from harness.cli import main
from harness.errors import HarnessError, UsageError
from harness.extensions.capture.models import evoformer
from harness.extensions.capture.session import Destination, record
from harness.formats.archive import open_archive, verify_archive
from harness.formats.base import load_format
from tests.extensions.capture.fake import query, settings

if evoformer.missing():
    pytest.skip(f"the model {evoformer.missing()}", allow_module_level=True)

import torch

from harness.extensions.capture import weights
from harness.extensions.capture.evoformer import primitives

FORMATS = {"npz": "a.npz", "hdf5": "a.h5", "zarr": "a.zarr", "zarr-slim": "a.slim.zarr"}
CHOSEN = settings(blocks=2, attention=evoformer.attention, triangle=("mean", 3, "all"))


@pytest.fixture(scope="module", autouse=True)
def threads():
    before = torch.get_num_threads()
    torch.set_num_threads(min(2, before))
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model():
    return evoformer.open(CHOSEN, query("ACDEFGHIKLMN"))


@pytest.fixture(scope="module")
def collected(model):
    found = {}
    model.run(found.__setitem__)
    return found


@pytest.fixture(scope="module")
def checkpoint(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "x.pt"
    state = {f"module.{name}": value for name, value in model.model.state_dict().items()}
    torch.save({"ema": {"params": state}, "step": 7}, path)
    return path


def hooks_left(module: torch.nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in module.modules())


def test_hooked_and_unhooked_outputs_are_identical(model):
    softmax = primitives.softmax_no_cast
    bare = model.compute()
    with model.trunk.hooked(CHOSEN, 12, lambda path, array: None):
        hooked = model.compute()
    assert all(torch.equal(one, other) for one, other in zip(bare, hooked, strict=True))
    assert hooks_left(model.model) == 0 and primitives.softmax_no_cast is softmax


def test_what_is_captured_is_what_the_modules_compute(model, collected, monkeypatch):
    """Watch in another way: attention is computed again from what it was called with, blocks are called by hand."""
    maps, outputs = [], []
    attention = primitives._attention

    def watched(query, key, value, biases, *rest, **options):
        scores = torch.einsum("...qc, ...kc->...qk", query, key)
        for bias in biases:
            scores = scores + bias
        maps.append(torch.softmax(scores, dim=-1))
        return attention(query, key, value, biases, *rest, **options)

    monkeypatch.setattr(primitives, "_attention", watched)
    for block in model.model.evoformer.blocks:
        forward = block.forward

        def seen(*arguments, forward=forward, **options):
            found = forward(*arguments, **options)
            outputs.append([tensor.clone() for tensor in found])
            return found

        monkeypatch.setattr(block, "forward", seen)
    model.compute()
    assert len(outputs) == 4 and len(maps) == 16  # two passes of two blocks; row, column, start and end attention
    for number, (m, z) in enumerate(outputs):
        step, layer = divmod(number, 2)
        prefix = "" if step == 1 else "recycle/step_0/"
        row, _, start, end = maps[4 * number : 4 * number + 4]

        def same(name, expected, prefix=prefix, layer=layer):
            assert np.array_equal(collected[prefix + name.format(layer)], expected.numpy()), (prefix, name, layer)

        same("pair/layer_{}", z)
        same("activations/layer_{}/msa_first_row", m[0])
        same("attention/msa_row/layer_{}", row[0])
        for side, expected in (("start", start), ("end", end)):
            assert expected.shape == (12, 4, 12, 12)
            same(f"attention/triangle_{side}_residue_3/layer_{{}}", expected[3])
            same(f"attention/triangle_{side}_mean/layer_{{}}", expected.mean(dim=0))
            same(f"attention/triangle_{side}_all/layer_{{}}", expected)
    single, pair = model.compute()[2], model.compute()[1]
    assert np.array_equal(collected["recycle/step_1/single_repr"], single.numpy())
    assert np.array_equal(collected["recycle/step_1/pair_repr"], pair.numpy())


def test_all_formats_hold_what_hooks_collect_in_memory(model, collected, tmp_path):
    destinations = [Destination(load_format(name), tmp_path / file) for name, file in FORMATS.items()]
    record(model, destinations)
    for destination in destinations:
        assert verify_archive(destination.path) == []
        with open_archive(destination.path) as (_, reader, manifest):
            assert manifest.tensor_shapes.keys() == collected.keys()
            for path, array in collected.items():
                assert reader.read(path).tobytes() == array.tobytes(), path


def test_attention_is_attention_and_layers_differ(collected):
    for path, array in collected.items():
        assert np.isfinite(array).all(), path
        if "attention/" in path:
            assert np.allclose(array.sum(axis=-1), 1, atol=1e-5), path
    assert not np.array_equal(collected["pair/layer_0"], collected["pair/layer_1"])
    assert not np.array_equal(collected["pair/layer_0"], collected["recycle/step_0/pair/layer_0"])


def test_the_seed_decides_the_weights(collected):
    runs = []
    for seed in (0, 0, 1):
        found = {}
        changed = settings(blocks=2, recycles=0, attention=(), seed=seed)
        evoformer.open(changed, query("ACDEFGHIKLMN")).run(found.__setitem__)
        runs.append(found)
    assert np.array_equal(runs[0]["pair/layer_1"], runs[1]["pair/layer_1"])
    assert np.array_equal(runs[0]["pair/layer_1"], collected["recycle/step_0/pair/layer_1"])  # the first pass of both
    assert not np.array_equal(runs[0]["pair/layer_1"], runs[2]["pair/layer_1"])


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"chunk_size": 4}, "computed in parts; switch chunking off"),
        ({"use_lma": True}, "formed its attention weights 0 times in one call: a memory-efficient kernel"),
    ],
)
def test_attention_that_cannot_be_seen_is_refused(model, tmp_path, monkeypatch, option, said):
    stack = model.model.evoformer
    forward = stack.forward
    monkeypatch.setattr(stack, "forward", lambda *a, **o: partial(forward, *a)(**{**o, **option}))
    with pytest.raises(HarnessError, match=said):
        record(model, [Destination(load_format("npz"), tmp_path / "a.npz")])
    assert list(tmp_path.iterdir()) == [] and hooks_left(model.model) == 0


def test_a_checkpoint_is_loaded_and_named_with_its_digest(model, collected, checkpoint):
    loaded = evoformer.open(settings(blocks=2, attention=(), seed=9, checkpoint=checkpoint), query("ACDEFGHIKLMN"))
    assert loaded.manifest.provenance.trained is True
    note = loaded.manifest.provenance.note
    assert f"x.pt, sha256 {hashlib.sha256(checkpoint.read_bytes()).hexdigest()}" in note and "UNTRAINED" not in note
    found = {}
    loaded.run(found.__setitem__)
    assert np.array_equal(found["pair/layer_1"], collected["pair/layer_1"])
    assert model.manifest.provenance.trained is False and "UNTRAINED" in model.manifest.provenance.note


class Runs:
    """Makes a folder when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("made",)


def test_a_checkpoint_of_another_kind_is_refused_and_runs_no_code(checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("text.pt").write_text("not a checkpoint")
    torch.save([1, 2], "list.pt")
    torch.save({"a": Runs()}, "code.pt")
    said = {
        "absent.pt": "cannot be read: No such file",
        "text.pt": "is not a checkpoint of plain tensors",
        "list.pt": "holds neither 'ema.params' nor a bare state dict",
        "code.pt": "is not a checkpoint of plain tensors",
    }
    for name, text in said.items():
        with pytest.raises(UsageError, match=text):
            weights.read_checkpoint(Path(name))
    assert not Path("made").exists()
    with pytest.raises(
        UsageError, match=r"is of another architecture: it has \d+ that it does not \(evoformer.blocks.1"
    ):
        evoformer.open(settings(blocks=1, attention=(), checkpoint=checkpoint), query())
    with pytest.raises(UsageError, match=r"it lacks \d+ parameters of this model \(evoformer.blocks.2"):
        evoformer.open(settings(blocks=3, attention=(), checkpoint=checkpoint), query())


def test_the_command_captures_and_says_untrained(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("q.fasta").write_text(">q\nACDEFGH\n")
    command = ["capture", "--model", "openfold3-evoformer", "--fasta", "q.fasta", "--blocks", "1", "--recycles", "0"]
    assert main([*command, "--to", "hdf5:a.h5", "--to", "zarr-slim:a.slim.zarr"]) == 0
    out = capsys.readouterr().out
    assert out.count("(untrained)") == 3
    assert main([*command, "--to", "npz:a.npz", "--device", "nonsense"]) == 2
    assert "--device 'nonsense' cannot be used here" in capsys.readouterr().err and not Path("a.npz").exists()
