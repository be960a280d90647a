"""The trace sources ``mnist-cnn`` and ``vit-digits``; PyTorch is imported when one of them is opened."""

from __future__ import annotations

import importlib.util

from harness.errors import UsageError
from harness.extensions.vision.parameters import CNN, VIT, parse
from harness.trace.stream import Trace, TraceSource

# One version of PyTorch, named exactly: the values of a trace depend on it, and other versions are other downloads.
_TORCH = "pip install torch==2.13.0"
_EXTRA = "pip install 'trace-format-harness[vision]'"


def missing() -> str:
    """Say which packages are not installed and how to install them, in order; empty when none is missing."""
    lacking = [
        (package, command)
        for module, package, command in (("torch", "torch", _TORCH), ("sklearn", "scikit-learn", _EXTRA))
        if importlib.util.find_spec(module) is None
    ]
    if not lacking:
        return ""
    names = " and ".join(repr(package) for package, _ in lacking)
    return f"needs the package{'s' * (len(lacking) > 1)} {names}: {', then '.join(command for _, command in lacking)}"


def _source(name: str, *, description: str) -> TraceSource:
    def open_trace(text: str, n_res: int | None) -> Trace:
        parameters = parse(name, text)
        if reason := missing():
            raise UsageError(f"The trace {name!r} {reason}.")
        from harness.extensions.vision.trace import make_trace  # imports PyTorch

        return make_trace(parameters)

    def paths(text: str) -> tuple[str, ...]:
        weights = parse(name, text).weights
        return () if weights is None else (str(weights),)

    return TraceSource(name=name, description=description, open=open_trace, missing=missing, paths=paths)


mnist_cnn = _source(CNN, description="small CNN trained here on scikit-learn's 8x8 digits (UCI's, not MNIST's)")
vit_digits = _source(
    VIT, description="small vision transformer trained here on the same digits, or given as weights=FILE"
)
