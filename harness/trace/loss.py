"""The record of what a trace lost: bounds, the measured errors, and what was dropped with how it comes back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from harness.documents import Count, Figure

MINIMAL: Final = "minimal"
KEPT = "kept"
NOT_RECOMPUTABLE = "not recomputable from what is left"


@dataclass(frozen=True, kw_only=True)
class Rounded:
    """What rounding did to one tensor; every error was measured on all of its values.

    Attributes
    ----------
    path : str
        Name of the tensor.
    changed : int
        Number of values that are not, bit for bit, what they were.
    largest_absolute_error : float
        Largest ``|x' - x|``.
    largest_relative_error : float
        Largest ``|x' - x| / |x|``, over the values other than 0.
    significand_bits : int or None
        Explicit bits of the significand that were kept; None for attention.
    largest_sum_change : float or None
        Largest change of a row's sum, both sums in float64; None where there are no rows with a sum to keep.
    rows : mapping of str to int
        Number of rows on each grid, by its step such as ``2**-10``, and of those kept bit for bit, as ``kept``.
    """

    path: str
    changed: Count
    largest_absolute_error: Figure
    largest_relative_error: Figure
    significand_bits: Count | None = None
    largest_sum_change: Figure | None = None
    rows: Mapping[str, Count] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Dropped:
    """One tensor that was left out.

    Attributes
    ----------
    path, shape, dtype, axes, role
        Its specification, as in `harness.trace.schema.TensorSpec`.
    digest : str
        Of its bytes, so that what is recomputed can be checked (see `harness.trace.stream.Digest`).
    recompute : str
        How it comes back, or `NOT_RECOMPUTABLE`.
    rule : str or None
        The rule that gives it back bit for bit, checked before it was dropped; None where the user named it.
    """

    path: str
    shape: tuple[Count, ...]
    dtype: str
    axes: tuple[str, ...]
    role: str
    digest: str
    recompute: str
    rule: str | None = None


@dataclass(frozen=True, kw_only=True)
class Loss:
    """What a trace lost. Every tensor that is neither among `rounded` nor `dropped` is as it was, bit for bit.

    Attributes
    ----------
    mode : str
        `MINIMAL`.
    bounds : mapping of str to float
        By role, as the user chose: relative for pair and single, absolute for attention.
    top_k : int or None
        The number of largest weights of a row whose order is kept; None without a bound for attention.
    rounded : tuple of Rounded
        Every tensor that a bound applies to.
    dropped : tuple of Dropped
        Every tensor that was left out.
    """

    mode: Literal["minimal"] = MINIMAL
    bounds: Mapping[str, Figure]
    top_k: Count | None = None
    rounded: tuple[Rounded, ...] = ()
    dropped: tuple[Dropped, ...] = ()

    def summary(self) -> str:
        """Say in one line what was given up."""
        said = [
            f"{role} within {bound:g} of a weight, sums and the order of the top {self.top_k} of a row kept"
            if role == "attention"
            else f"{role} within {bound:g} of each value's size"
            for role, bound in self.bounds.items()
        ]
        if self.dropped:
            said.append(f"{len(self.dropped)} tensor{'s' if len(self.dropped) > 1 else ''} dropped")
        return f"LOSSY ({self.mode}): {'; '.join(said)}"

    def errors(self) -> str:
        """Say the largest errors; those of attention are known by their sums."""
        relative = [row.largest_relative_error for row in self.rounded if row.largest_sum_change is None]
        weights = [row for row in self.rounded if row.largest_sum_change is not None]
        said = [f"{max(relative):.2g} of a value's size"] if relative else []
        if weights:
            sums = max(row.largest_sum_change or 0.0 for row in weights)
            said.append(f"{max(row.largest_absolute_error for row in weights):.2g} of a weight, {sums:.2g} of a sum")
        return f"Largest errors: {', '.join(said)}; harness inspect shows them tensor by tensor."

    def under(self, names: Mapping[str, str]) -> Loss:
        """Return the record of a trace in which tensors have other names: `names` gives the old one by the new."""
        known = {row.path: row for row in self.rounded}
        rounded = (dataclasses.replace(known[old], path=new) for new, old in names.items() if old in known)
        return dataclasses.replace(self, rounded=tuple(rounded))
