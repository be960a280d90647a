"""What is captured is what the modules computed: checked by numpy, from one tensor of the trace to the next."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="pip install torch==2.13.0")
pytest.importorskip("sklearn", reason="pip install 'trace-format-harness[vision]'")

from harness.errors import UsageError  # noqa: E402
from harness.extensions.vision.models import Cnn, Vit, VitShape, capture  # noqa: E402
from harness.extensions.vision.parameters import HELD_OUT  # noqa: E402
from harness.extensions.vision.training import read_digits, reproducible  # noqa: E402
from harness.extensions.vision.weights import enlarge, load_vit  # noqa: E402
from harness.trace.sources import open_trace  # noqa: E402

WEIGHTS = "vit_mnist/vit_mnist_weights.pt"
SMALL = VitShape(side=12, patch=3, channels=8, hidden=16, layers=2)


def made(kind: str) -> torch.nn.Module:
    with reproducible(5):
        model = Cnn(2) if kind == "cnn" else Vit(VitShape(layers=3))
        return model.eval()


@pytest.mark.parametrize("kind", ["cnn", "vit"])
def test_hooks_change_nothing_and_are_gone_afterwards(kind: str) -> None:
    model, images = made(kind), read_digits()[0][:7]
    with torch.inference_mode():
        plain = model(torch.from_numpy(images)).numpy()
    arrays = capture(model, images)
    assert arrays["outputs/logits"].tobytes() == plain.tobytes()
    assert list(arrays) == [*model.taps(), "outputs/logits"]
    assert not any(module._forward_hooks for module in model.modules())


def test_many_images_are_run_in_batches_and_kept_in_order() -> None:
    model, images = made("cnn"), read_digits()[0][:130]
    arrays = capture(model, images)
    assert {len(array) for array in arrays.values()} == {130}
    for at in (0, 60, 129):
        alone = capture(model, images[at : at + 1])["outputs/logits"][0]
        np.testing.assert_allclose(arrays["outputs/logits"][at], alone, atol=1e-6)


def test_the_tensors_of_the_cnn_follow_from_each_other() -> None:
    model = made("cnn")
    found = {path.removeprefix("activations/"): array for path, array in capture(model, read_digits()[0][:5]).items()}
    for name in ("0", "1"):
        assert (found[f"conv_{name}"] < 0).any()
        np.testing.assert_array_equal(found[f"relu_{name}"], np.maximum(found[f"conv_{name}"], 0))
    pooled = found["relu_1"].reshape(5, 32, 4, 2, 4, 2).max(axis=(3, 5))
    np.testing.assert_array_equal(found["pool"], pooled)
    weight, bias = (part.detach().numpy() for part in (model.hidden.weight, model.hidden.bias))
    np.testing.assert_allclose(found["hidden"], pooled.reshape(5, -1) @ weight.T + bias, atol=1e-5)
    weight, bias = (part.detach().numpy() for part in (model.head.weight, model.head.bias))
    np.testing.assert_allclose(found["outputs/logits"], found["relu_hidden"] @ weight.T + bias, atol=1e-5)


def test_attention_is_that_of_the_tokens_before_it_by_head() -> None:
    model, images = made("vit"), read_digits()[0][:5]
    found = capture(model, images)
    for layer in (1, 2):
        tokens = found[f"activations/layer_{layer - 1}/hidden_states"]
        attention = model.blocks[layer].attn.attn
        projected = tokens @ attention.in_proj_weight.detach().numpy().T + attention.in_proj_bias.detach().numpy()
        query, key, _ = (part.reshape(5, 17, 4, 8).swapaxes(1, 2) for part in np.split(projected, 3, axis=-1))
        scores = np.exp(query @ key.swapaxes(2, 3) / math.sqrt(8))
        expected = scores / scores.sum(axis=-1, keepdims=True)
        np.testing.assert_allclose(found[f"attention/layer_{layer}"], expected, rtol=1e-4)
        assert np.abs(np.diff(expected, axis=1)).max() > 1e-3  # the heads differ, so their order is seen
    with torch.inference_mode():
        last = torch.from_numpy(found["activations/layer_2/hidden_states"])
        np.testing.assert_allclose(found["outputs/logits"], model.head(model.norm(last)[:, 0]).numpy(), atol=1e-6)


def test_digits_are_held_out_alike_and_fairly() -> None:
    images, labels = read_digits()
    assert (images.shape, images.dtype, labels.shape, labels.dtype) == ((1797, 1, 8, 8), np.float32, (1797,), np.int64)
    assert (images.min(), images.max()) == (0, 1)
    assert np.bincount(labels[:HELD_OUT]).min() >= 25  # of 36 on average
    # Fixed for good: accuracies of different versions are on the same digits.
    assert list(labels[:8]) == [1, 9, 3, 5, 9, 3, 2, 6]
    again = read_digits()[0]
    assert again.tobytes() == images.tobytes()


def test_digits_are_enlarged_as_mnist_has_them() -> None:
    black, white = (0 - 0.1307) / 0.3081, (1 - 0.1307) / 0.3081
    found = enlarge(np.ones((2, 1, 8, 8), np.float32), 28)
    assert (found.shape, found.dtype) == ((2, 1, 28, 28), np.float32)
    np.testing.assert_allclose(found[:, :, 4:24, 4:24], white, rtol=1e-6)
    found[:, :, 4:24, 4:24] = black
    np.testing.assert_allclose(found, black, rtol=1e-6)


def test_weights_survive_their_file(tmp_path: Path) -> None:
    with reproducible(1):
        model = Vit(SMALL).eval()
    torch.save(model.state_dict(), tmp_path / "w.pt")
    found, sha256 = load_vit(tmp_path / "w.pt")
    assert found.shape == SMALL
    assert sha256 == hashlib.sha256((tmp_path / "w.pt").read_bytes()).hexdigest()
    images = enlarge(read_digits()[0][:3], 12)
    for name, array in capture(model, images).items():
        assert capture(found, images)[name].tobytes() == array.tobytes(), name


def test_weights_that_only_guess_are_shown_as_untrained(tmp_path: Path) -> None:
    with reproducible(1):
        torch.save(Vit(SMALL).state_dict(), tmp_path / "w.pt")
    trace = open_trace(f"vit-digits:images=3,weights={tmp_path / 'w.pt'}")
    assert trace.label == "vit-digits:images=3,weights=w.pt (untrained)"
    assert trace.manifest["attention/layer_1"].shape == (3, 4, 17, 17)
    assert trace.manifest["inputs/images"].shape == (3, 1, 12, 12)
    assert trace.manifest.provenance.seed is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"cannot be read \(No such file or directory\): give the path of a file after weights="),
        (b"", "not a file of weights written by torch.save"),
        (b"PK\x03\x04 and then nothing", "not a file of weights written by torch.save"),
        ({"other": 1}, "holds weights of another model"),
        ([1, 2], "holds weights of another model"),
        ("cut", "not a file of weights written by torch.save"),
        ("odd heads", "holds weights of another model"),
        ("one lacks", "holds weights of another model"),
        ("code", "not a file of weights written by torch.save"),
    ],
)
def test_weights_that_are_none_are_named(content: object, message: str, tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    state = Vit(SMALL).state_dict()
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "cut":
        torch.save(state, path)
        path.write_bytes(path.read_bytes()[:-3000])
    elif content == "odd heads":  # four heads cannot share 6 channels
        torch.save(Vit(VitShape(channels=6, heads=3)).state_dict(), path)
    elif content == "one lacks":
        del state["blocks.1.ff.norm.bias"]
        torch.save(state, path)
    elif content == "code":  # a pickle that would call something
        torch.save({"weights": _Calls(tmp_path / "called")}, path)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(UsageError, match=message):
        load_vit(path)
    assert not (tmp_path / "called").exists()


class _Calls:
    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self._path,)


def test_the_recorded_attention_comes_back_from_the_recorded_weights(real_data: Path) -> None:
    if not (real_data / WEIGHTS).is_file():
        pytest.skip(f"HARNESS_DATA has no file {WEIGHTS}")
    model, _ = load_vit(real_data / WEIGHTS)
    with np.load(real_data / "vit_mnist/vit_mnist_attention.npz") as recorded:
        found = capture(model, recorded["images"])
        assert list(found["outputs/logits"].argmax(axis=1)) == list(recorded["preds"])
        layers = [name for name in recorded.files if name.startswith("attn_layer_")]
        assert len(layers) == model.shape.layers == 6
        for name in layers:
            computed = found[f"attention/{name.removeprefix('attn_')}"]
            np.testing.assert_allclose(computed, recorded[name], rtol=1e-4, atol=2e-6)
