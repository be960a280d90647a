"""The type of a tensor's values: NumPy's own, or one that NumPy lacks, whose bits an archive holds as integers."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.registry import require_package
from harness.trace.schema import TensorSpec


def value_type(spec: TensorSpec) -> str:
    """Return the name of the type of a tensor's values; its ``dtype`` may hold their bits alone."""
    return spec.values or spec.dtype


def numpy_type(spec: TensorSpec) -> np.dtype:
    """Return the type of a tensor's values as NumPy knows it.

    Raises
    ------
    UsageError
        When the package is missing that makes it known.
    """
    name = value_type(spec)
    if name == spec.dtype:
        return np.dtype(name)
    held = f"The values of {spec.path} are {name}, which dtype='float32' holds exactly; as they are NumPy"
    require_package(held, "ml_dtypes", "ml_dtypes")
    import ml_dtypes

    return np.dtype(getattr(ml_dtypes, name))


def as_type(stored: np.ndarray, spec: TensorSpec, dtype: np.dtype | None) -> np.ndarray:
    """Return what an archive holds of a tensor as its values, or as another type that is asked for.

    Values of bfloat16 are the upper halves of those of float32, and widen to these exactly.
    """
    if value_type(spec) == spec.dtype:
        return stored if dtype is None else stored.astype(dtype, copy=False)
    if dtype is None:
        return stored.view(numpy_type(spec))
    return np.asarray(stored.astype(np.uint32) << 16).view(np.float32).astype(dtype, copy=False)


def as_held(block: Any, spec: TensorSpec) -> np.ndarray:
    """Return values as an archive holds them: as they are, or their bits."""
    values = np.asarray(block)
    if value_type(spec) != spec.dtype:
        return values.view(spec.dtype)
    return np.asarray(values, dtype=spec.dtype)
