"""The trace sources ``mnist-cnn`` and ``vit-digits``; PyTorch is imported when one is opened."""

from __future__ import annotations

from harness.errors import UsageError
from harness.extensions.vision.parameters import CNN, VIT, missing, parse
from harness.trace.stream import Trace, TraceSource


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
