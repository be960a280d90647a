"""Types of values: those of NumPy, and types that NumPy lacks, whose bits are stored as integers."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.errors import UsageError
from harness.registry import require_package
from harness.trace.schema import TensorSpec


def value_type(spec: TensorSpec) -> str:
    """Return the name of the type of a tensor's values, whose bits its ``dtype`` may hold."""
    return spec.values or spec.dtype


def numpy_type(spec: TensorSpec) -> np.dtype:
    """Return a tensor's type of values as a NumPy dtype.

    Raises
    ------
    UsageError
        If the package that defines the type is missing.
    """
    name = value_type(spec)
    if name == spec.dtype:
        return np.dtype(name)
    held = f"The values of {spec.path} are {name}, which dtype='float32' holds exactly; as they are NumPy"
    require_package(held, "ml_dtypes", "ml_dtypes")
    import ml_dtypes

    return np.dtype(getattr(ml_dtypes, name))


def parse_type(dtype: Any) -> np.dtype:
    """Return a requested type as a NumPy dtype; raise `UsageError` if it is none."""
    try:
        return np.dtype(dtype)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{str(dtype)[:60]!r} is no NumPy dtype: give one such as 'float32'.") from error


def as_type(stored: np.ndarray, spec: TensorSpec, dtype: np.dtype | None) -> np.ndarray:
    """Convert stored data to the tensor's type of values, or to a requested type.

    bfloat16 is the upper half of float32, so conversion to float32 is exact.
    """
    if value_type(spec) == spec.dtype:
        return stored if dtype is None else stored.astype(dtype, copy=False)
    if dtype is None:
        return stored.view(numpy_type(spec))
    return np.asarray(stored.astype(np.uint32) << 16).view(np.float32).astype(dtype, copy=False)


def as_held(block: Any, spec: TensorSpec) -> np.ndarray:
    """Convert values to the dtype in which they are stored."""
    values = np.asarray(block)
    if value_type(spec) != spec.dtype:
        return values.view(spec.dtype)
    return np.asarray(values, dtype=spec.dtype)
