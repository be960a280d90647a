"""Exact narrow storage: hold values in fewer bits where every one of them is exactly representable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Narrowing:
    """One way to store values in fewer bits."""

    name: str  # Recorded with the array.
    dtype: str  # Of the tensor.
    stored: str  # Dtype in the container.
    # Takes values of the tensor's dtype in C order; returns whether every one of them survives, bit for bit.
    fits: Callable[[np.ndarray], bool]
    narrow: Callable[[np.ndarray], np.ndarray]  # Takes values that fit; returns them in the stored dtype.
    # Takes stored values and an array of the same shape, which it fills with the original values, bit for bit.
    put: Callable[[np.ndarray, np.ndarray], None]

    @property
    def as_it_is(self) -> bool:
        """Whether stored values are the original ones."""
        return self.stored == self.dtype

    def widen(self, stored: np.ndarray) -> np.ndarray:
        """Return the original values; the given array, not a copy, if the values were not narrowed."""
        if self.as_it_is:
            return stored
        out = np.empty(stored.shape, self.dtype)
        self.put(stored, out)
        return out


def _are_bfloat16(values: np.ndarray) -> bool:
    return not np.bitwise_or.reduce(values.view(np.uint32), axis=None) & 0xFFFF  # one pass, and no copy


def _to_bfloat16(values: np.ndarray) -> np.ndarray:
    return (values.view(np.uint32) >> 16).astype(np.uint16)


def _put_bfloat16(stored: np.ndarray, out: np.ndarray) -> None:
    # One pass. A shift that widens as well takes twice as long, widening and then shifting a third longer.
    np.multiply(stored, np.uint32(1 << 16), out=out.view(np.uint32), dtype=np.uint32, casting="unsafe")


def _put(stored: np.ndarray, out: np.ndarray) -> None:
    np.copyto(out, stored, casting="unsafe")


def _cast(dtype: str, stored: str) -> Narrowing:
    """Return the narrowing that is a plain cast there and back, used only if every bit returns."""

    def narrow(values: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore", invalid="ignore"):
            return values.astype(stored)

    def fits(values: np.ndarray) -> bool:
        with np.errstate(over="ignore", invalid="ignore"):
            back = narrow(values).astype(dtype)
        bits = f"u{values.dtype.itemsize}"
        # Compared as bits: -0.0 and NaN payloads count.
        return np.array_equal(back.view(bits), values.view(bits))

    return Narrowing(name=stored, dtype=dtype, stored=stored, fits=fits, narrow=narrow, put=_put)


_BFLOAT16 = Narrowing(
    name="bfloat16", dtype="float32", stored="uint16", fits=_are_bfloat16, narrow=_to_bfloat16, put=_put_bfloat16
)
_NARROWER = {
    "float32": ("float16",),
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

    bfloat16 means the upper half of a float32 whose lower half is zero, held as uint16: numpy has no bfloat16.
    """
    first = [_BFLOAT16] if dtype == "float32" else []
    as_it_is = Narrowing(
        name="none", dtype=dtype, stored=dtype, fits=lambda values: True, narrow=lambda values: values, put=_put
    )
    return [*first, *(_cast(dtype, stored) for stored in _NARROWER.get(dtype, ())), as_it_is]


@cache
def by_name(dtype: str, name: str) -> Narrowing:
    """Return the narrowing that an archive names; raises `KeyError` for one that this reader does not know."""
    return {narrowing.name: narrowing for narrowing in ladder(dtype)}[name]
