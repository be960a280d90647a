"""A trained language model: what is captured is what transformers itself gives, and what was recorded with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.errors import UsageError
from harness.extensions.capture.models import antiberty
from harness.extensions.capture.session import Destination, record
from harness.formats.base import load_format
from harness.trace.recorded import antiberty as recorded
from harness.trace.sources import open_trace
from tests.extensions.capture.fake import query, settings

CHOSEN = settings(blocks=8, recycles=0, attention=antiberty.attention)
CHAIN = "EVQLVESGGGLVQPGGSLRLSCAASGFX"


def test_without_its_libraries_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert antiberty.missing() == (
        "needs torch, transformers, antiberty: pip install torch==2.13.0, then pip install "
        "'trace-format-harness[antiberty]', then pip install --no-deps antiberty==0.1.3"
    )


@pytest.fixture(scope="module")
def model():
    if antiberty.missing():
        pytest.skip(f"the model {antiberty.missing()}")
    return antiberty.open(CHOSEN, query(CHAIN))


@pytest.fixture(scope="module")
def collected(model):
    found: dict[str, np.ndarray] = {}
    model.run(found.__setitem__)
    return found


def test_hooked_and_unhooked_outputs_are_identical(model) -> None:
    bare = model.compute()
    with model.trunk.hooked(CHOSEN, len(CHAIN), lambda path, array: None):
        hooked = model.compute()
    assert bare.numpy().tobytes() == hooked.numpy().tobytes()
    assert not any(m._forward_hooks for m in model.model.modules())


def test_what_is_captured_is_what_transformers_gives(model, collected) -> None:
    given = model.model(**model.features(), output_attentions=True, output_hidden_states=True)
    assert list(collected) == [spec.path for spec in model.manifest.tensors]
    embedding, *hidden = (state[0].detach().numpy() for state in given.hidden_states)
    assert np.array_equal(collected["activations/embedding/hidden_states"], embedding)
    for layer, (weights, state) in enumerate(zip(given.attentions, hidden, strict=True)):
        assert np.array_equal(collected[f"attention/layer_{layer}"], weights[0].detach().numpy())
        assert np.array_equal(collected[f"activations/layer_{layer}/hidden_states"], state)


def test_its_manifest_says_that_it_is_trained_and_with_which_weights(model) -> None:
    facts, origin = model.manifest.metadata, model.manifest.provenance
    assert (facts.model_name, facts.num_layers, facts.num_heads, facts.hidden_dim) == ("AntiBERTy", 8, 8, 512)
    assert facts.num_residues == len(CHAIN) and model.manifest["attention/layer_0"].shape == (8, 30, 30)
    assert origin.trained is True and "pytorch_model.bin, sha256 " in str(origin.note)


def test_blocks_that_are_not_asked_for_are_left_out(model, tmp_path: Path) -> None:
    few = antiberty.open(settings(blocks=8, recycles=0, attention=(), layers=(2, 5)), query(CHAIN))
    (manifest,) = record(few, [Destination(load_format("hdf5"), tmp_path / "a.h5")])
    hidden = [f"activations/{place}/hidden_states" for place in ("embedding", "layer_2", "layer_5")]
    assert [spec.path for spec in manifest.tensors] == ["inputs/sequence", "inputs/msa", *hidden]


@pytest.mark.parametrize(
    ("changes", "chain", "said"),
    [
        ({"recycles": 1}, CHAIN, "computes one pass: leave out --recycles"),
        ({"blocks": 9}, CHAIN, "of another architecture: it lacks .* Check --model and --blocks"),
        ({}, "A" * 511, "takes at most 510 residues, the chain has 511"),
    ],
)
def test_what_it_cannot_do_is_refused(model, changes: dict[str, int], chain: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        antiberty.open(settings(**{"blocks": 8, "recycles": 0, "attention": ("self",), **changes}), query(chain))


def test_it_gives_what_was_recorded_with_it(model) -> None:
    if recorded.missing():
        pytest.skip(recorded.missing())
    trace = open_trace("antiberty")
    sequence = b"".join(block.tobytes() for block in trace.blocks("inputs/sequence")).decode()
    found: dict[str, np.ndarray] = {}
    antiberty.open(CHOSEN, query(sequence)).run(found.__setitem__)
    for spec in trace.manifest.tensors:  # another processor adds in another order
        values = np.concatenate(list(trace.blocks(spec.path)))
        np.testing.assert_allclose(found[spec.path], values, rtol=1e-4, atol=1e-4, err_msg=spec.path)
    assert len(trace.manifest.tensors) == 18
