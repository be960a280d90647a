"""What the trace sources of image models take, and what they say where their packages are not installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness import registry
from harness.cli import main
from harness.errors import UsageError
from harness.extensions.vision.parameters import missing, parse
from harness.extensions.vision.sources import mnist_cnn, vit_digits
from harness.trace.sources import open_trace

TORCH = "pip install torch==2.13.0"
EXTRA = "pip install 'trace-format-harness[vision]'"


@pytest.fixture
def uninstalled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make Python find neither package."""
    for name in ("torch", "sklearn"):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.parametrize(
    ("source", "text", "label"),
    [
        ("mnist-cnn", "", "mnist-cnn"),
        ("vit-digits", "", "vit-digits"),
        ("mnist-cnn", "layers=2,images=360", "mnist-cnn"),
        ("vit-digits", "epochs=0,images=8", "vit-digits:images=8,epochs=0"),
        ("vit-digits", "seed=3,layers=1", "vit-digits:layers=1,seed=3"),
        ("vit-digits", "weights=some/where/w.pt,images=2", "vit-digits:images=2,weights=w.pt"),
    ],
)
def test_a_label_says_what_differs_from_the_defaults(source: str, text: str, label: str) -> None:
    assert parse(source, text).label == label


def test_parameters_are_read() -> None:
    found = parse("vit-digits", "images=1797,layers=24,epochs=1000,seed=18446744073709551615")
    assert (found.images, found.layers, found.epochs, found.seed) == (1797, 24, 1000, 2**64 - 1)
    assert found.weights is None
    assert parse("vit-digits", "weights=a/b.pt").weights == Path("a/b.pt")


@pytest.mark.parametrize(
    ("source", "text", "message"),
    [
        ("mnist-cnn", "images=0", "images=0 of 'mnist-cnn' must be a whole number from 1 to 1797"),
        ("vit-digits", "images=1798", "images=1798 .* from 1 to 1797"),
        ("vit-digits", "layers=25", "layers=25 .* from 1 to 24"),
        ("vit-digits", "epochs=-1", "epochs=-1 .* from 0 to 1000"),
        ("vit-digits", "epochs=1.5", "epochs=1.5 .* whole number"),
        ("vit-digits", "seed=18446744073709551616", "seed=18446744073709551616 .* from 0"),
        ("vit-digits", f"seed={'9' * 5000}", "whole number from 0"),
        ("vit-digits", "seed=²", "whole number"),
        ("vit-digits", "heads=4", "no parameter 'heads'; choose among images, layers, epochs, seed, weights"),
        ("mnist-cnn", "weights=w.pt", "no parameter 'weights'; choose among images, layers, epochs, seed"),
        ("vit-digits", "weights=w.pt,epochs=3", "leave out epochs, or weights"),
        ("vit-digits", "images", "form key=value"),
    ],
)
def test_what_cannot_be_is_refused_whatever_is_installed(
    source: str, text: str, message: str, uninstalled: None
) -> None:
    with pytest.raises(UsageError, match=message):
        open_trace(f"{source}:{text}")


def test_a_trace_whose_name_is_not_its_digits_says_so() -> None:
    assert "UCI's, not MNIST's" in mnist_cnn.description
    assert not mnist_cnn.sized and not vit_digits.sized


def test_missing_packages_are_named_with_the_commands_in_order(uninstalled: None, capsys) -> None:
    expected = f"needs the packages 'torch' and 'scikit-learn': {TORCH}, then {EXTRA}"
    assert {row.name: row.missing for row in registry.listing("traces")}["vit-digits"] == expected
    assert main(["convert", "mnist-cnn:images=2", "trace.h5"]) == 2
    assert capsys.readouterr().err == f"harness: The trace 'mnist-cnn' {expected}.\n"


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("torch", f"needs the package 'torch': {TORCH}"),
        ("sklearn", f"needs the package 'scikit-learn': {EXTRA}"),
    ],
)
def test_only_what_is_missing_is_named(module: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == module else object())
    assert missing() == message


def test_neither_package_is_imported_before_a_trace_is_opened() -> None:
    code = (
        "import sys; from harness import registry; "
        "found = {row.name for row in registry.listing('traces')}; "
        "print({'mnist-cnn', 'vit-digits'} <= found, 'torch' in sys.modules, 'sklearn' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False", "False"]
