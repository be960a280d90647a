"""Traces of image models: what they hold and say, the same bits each time, and attention that is like trained one."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="pip install torch==2.13.0")
pytest.importorskip("sklearn", reason="pip install 'trace-format-harness[vision]'")

from harness.cli import main  # noqa: E402
from harness.extensions.fidelity import comparison as fidelity  # noqa: E402
from harness.extensions.fidelity.comparison import measure  # noqa: E402
from harness.trace.schema import Role  # noqa: E402
from harness.trace.sources import open_trace  # noqa: E402
from harness.trace.stream import Trace, digest  # noqa: E402

QUICK = "vit-digits:images=5,layers=1,epochs=1"


def read(trace: Trace, path: str) -> np.ndarray:
    return np.concatenate(list(trace.blocks(path)))


def digests(trace: Trace) -> dict[str, str]:
    return {spec.path: digest(read(trace, spec.path)) for spec in trace.manifest.tensors}


@pytest.fixture(scope="module")
def vit() -> Trace:
    return open_trace("vit-digits")


@pytest.fixture(scope="module")
def cnn() -> Trace:
    return open_trace("mnist-cnn:epochs=2")


def test_the_cnn_has_its_activations_by_module(cnn: Trace) -> None:
    assert cnn.label == "mnist-cnn:epochs=2"
    image, line = ("image", "channel", "row", "column"), ("image", "channel")
    expected = {
        "inputs/images": ((360, 1, 8, 8), ("image", "image_channel", "row", "column")),
        "inputs/labels": ((360,), ("image",)),
        "activations/conv_0": ((360, 16, 8, 8), image),
        "activations/relu_0": ((360, 16, 8, 8), image),
        "activations/conv_1": ((360, 32, 8, 8), image),
        "activations/relu_1": ((360, 32, 8, 8), image),
        "activations/pool": ((360, 32, 4, 4), image),
        "activations/hidden": ((360, 64), line),
        "activations/relu_hidden": ((360, 64), line),
        "outputs/logits": ((360, 10), ("image", "class")),
    }
    assert {s.path: (s.shape, s.axes) for s in cnn.manifest.tensors} == expected
    assert {s.dtype for s in cnn.manifest.tensors if s.path != "inputs/labels"} == {"float32"}


def test_the_vision_transformer_has_attention_and_tokens_by_layer(vit: Trace) -> None:
    assert vit.label == "vit-digits"
    paths = [spec.path for spec in vit.manifest.tensors]
    layers = [(f"attention/layer_{i}", f"activations/layer_{i}/hidden_states") for i in range(4)]
    assert paths == ["inputs/images", "inputs/labels", *(name for pair in layers for name in pair), "outputs/logits"]
    for attention, tokens in layers:
        assert vit.manifest[attention].shape == (360, 4, 17, 17)
        assert vit.manifest[tokens].shape == (360, 17, 32)
        np.testing.assert_allclose(read(vit, attention).sum(axis=-1), 1, atol=1e-6)
    assert (vit.manifest.metadata.num_layers, vit.manifest.metadata.num_heads) == (4, 4)
    assert vit.manifest.metadata.num_residues is None


@pytest.mark.parametrize("name", ["vit", "cnn"])
def test_the_stated_accuracy_is_that_of_the_traces_own_logits(name: str, request: pytest.FixtureRequest) -> None:
    trace = request.getfixturevalue(name)
    right = float(np.mean(read(trace, "outputs/logits").argmax(axis=1) == read(trace, "inputs/labels")))
    note = str(trace.manifest.provenance.note)
    assert f"names {right:.1%} of 360 held-out digits right" in note
    assert right > 0.8  # nine in ten, with room for other processors
    assert trace.manifest.provenance.trained is True
    epochs = 12 if name == "vit" else 2
    assert re.search(rf"trained for {epochs} epochs on 1437 digits \(AdamW, .*, seed 0\)", note)
    assert f"torch {torch.__version__}" in note and "scikit-learn " in note


def test_without_training_it_is_shown_as_untrained() -> None:
    trace = open_trace("mnist-cnn:epochs=0,images=2")
    assert trace.label == "mnist-cnn:images=2,epochs=0 (untrained)"
    assert trace.manifest.provenance.trained is False
    assert "UNTRAINED weights, seed 0" in str(trace.manifest.provenance.note)


def test_bits_are_the_same_in_another_process_with_other_threads() -> None:
    code = (
        "import sys, torch; torch.set_num_threads(2); torch.manual_seed(9); sys.path.insert(0, sys.argv[1]); "
        f"from test_traces import *; print(digests(open_trace({QUICK!r}))); print(torch.get_num_threads())"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found, threads = done.stdout.splitlines()
    assert found == str(digests(open_trace(QUICK)))
    assert threads == "2"  # what it was before
    assert digests(open_trace(QUICK + ",seed=1"))["outputs/logits"] not in found


def test_torchs_own_random_numbers_go_on_as_if_nothing_was_trained() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4).tolist()
    torch.manual_seed(3)
    open_trace("vit-digits:images=2,layers=1,epochs=1,seed=7")
    assert torch.rand(4).tolist() == expected


def test_trained_attention_compresses_like_recorded_attention_and_untrained_does_not(vit: Trace) -> None:
    untrained = measure(open_trace("vit-digits:epochs=0"), Role.ATTENTION)
    trained = measure(vit, Role.ATTENTION)
    recorded = fidelity.PUBLISHED[Role.ATTENTION]
    synthetic = measure(open_trace("synthetic:layers=4", 64), Role.ATTENTION)
    ratios = [name for name in recorded if name.startswith("ratio")]
    assert len(ratios) == 3
    for name in ratios:
        assert trained[name] == pytest.approx(recorded[name], rel=0.05)
        assert trained[name] == pytest.approx(synthetic[name], rel=0.05)
        assert untrained[name] > 1.07 * recorded[name]
    assert trained["mean entropy"] < 0.9 < 0.95 < untrained["mean entropy"]


@pytest.mark.parametrize("suffix", ["npz", "h5", "zarr", "slim.zarr"])
def test_a_trace_is_converted_to_every_format(suffix: str, tmp_path: Path, capsys) -> None:
    assert main(["convert", QUICK, str(tmp_path / f"x.{suffix}")]) == 0
    found = open_trace(f"file:{tmp_path / f'x.{suffix}'}")
    assert digests(found) == digests(open_trace(QUICK))
    assert found.manifest.provenance == open_trace(QUICK).manifest.provenance
