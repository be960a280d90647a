"""Exact narrow storage: hold values in fewer bits where every one of them is exactly representable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Narrowing:
    """One way to store values in fewer bits.

    Attributes
    ----------
    name : str
        Recorded beside the array.
    stored : str
        Dtype in the container.
    narrow : callable
        Takes values of the tensor's dtype; returns them in the stored dtype, or None when one does not survive.
    widen : callable
        Takes stored values; returns the original ones, bit for bit.
    """

    name: str
    stored: str
    narrow: Callable[[np.ndarray], np.ndarray | None]
    widen: Callable[[np.ndarray], np.ndarray]


def _to_bfloat16(values: np.ndarray) -> np.ndarray | None:
    bits = values.view(np.uint32)
    if (bits & 0xFFFF).any():
        return None
    return (bits >> 16).astype(np.uint16)


def _from_bfloat16(stored: np.ndarray) -> np.ndarray:
    bits = stored.astype(np.uint32)
    np.left_shift(bits, 16, out=bits)
    return bits.view(np.float32)


def _cast(dtype: str, stored: str) -> Narrowing:
    """Build the narrowing that is a plain cast there and back, kept only when every bit returns."""

    def narrow(values: np.ndarray) -> np.ndarray | None:
        with np.errstate(over="ignore", invalid="ignore"):
            cast = values.astype(stored)
            back = cast.astype(dtype)
        bits = f"u{values.dtype.itemsize}"
        # Compared as bits: -0.0 and NaN payloads count.
        return cast if np.array_equal(back.view(bits), values.view(bits)) else None

    return Narrowing(name=stored, stored=stored, narrow=narrow, widen=lambda values: values.astype(dtype))


def _identity(dtype: str) -> Narrowing:
    return Narrowing(name="none", stored=dtype, narrow=lambda values: values, widen=lambda values: values)


_BFLOAT16 = Narrowing(name="bfloat16", stored="uint16", narrow=_to_bfloat16, widen=_from_bfloat16)
_NARROWER = {
    "float64": ("float16", "float32"),
    "int64": ("int8", "int16", "int32"),
    "int32": ("int8", "int16"),
    "int16": ("int8",),
    "uint64": ("uint8", "uint16", "uint32"),
    "uint32": ("uint8", "uint16"),
    "uint16": ("uint8",),
}


def ladder(dtype: str) -> list[Narrowing]:
    """List the ways to store a dtype, narrowest first; the last is the dtype itself and always works.

    Parameters
    ----------
    dtype : str
        A numpy type name.

    Returns
    -------
    list of Narrowing
        bfloat16 means the upper half of a float32 whose lower half is zero, held as uint16 because numpy has no
        bfloat16 of its own.
    """
    if dtype == "float32":
        return [_BFLOAT16, _cast(dtype, "float16"), _identity(dtype)]
    return [*(_cast(dtype, stored) for stored in _NARROWER.get(dtype, ())), _identity(dtype)]


def by_name(dtype: str, name: str) -> Narrowing:
    """Return the narrowing that an archive names; raises `KeyError` for one that this reader does not know."""
    return {narrowing.name: narrowing for narrowing in ladder(dtype)}[name]
