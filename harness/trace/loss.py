"""Record of what a trace lost: bounds, measured errors, and dropped tensors with the way to recompute them."""

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
    """Effect of rounding on one tensor; every error was measured on all of its values.

    Attributes
    ----------
    path : str
        Name of the tensor.
    changed : int
        Number of values that changed in at least one bit.
    largest_absolute_error : float
        Largest ``|x' - x|``.
    largest_relative_error : float
        Largest ``|x' - x| / |x|``, over the values other than 0.
    significand_bits : int or None
        Explicit bits of the significand that were kept; None for attention.
    largest_sum_change : float or None
        Largest change of a row's sum, both sums in float64; None if there are no rows with a sum to keep.
    rows : mapping of str to int
        Number of rows on each grid, by grid step such as ``2**-10``; ``kept`` counts the rows kept bit for bit.
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
        Digest of its bytes, to check recomputed values (see `harness.trace.stream.Digest`).
    recompute : str
        How to recompute it, or `NOT_RECOMPUTABLE`.
    rule : str or None
        The rule that recomputes it bit for bit, checked before it was dropped; None if the user named the tensor.
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
    """Losses of a trace. Every tensor that is neither in `rounded` nor in `dropped` is unchanged, bit for bit.

    Attributes
    ----------
    mode : str
        `MINIMAL`.
    bounds : mapping of str to float
        Bounds that the user chose, by role: relative for pair and single, absolute for attention.
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
        """Return a summary in one line: the bounds and the number of dropped tensors."""
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
        """Return a sentence with the largest errors; rounded tensors with a sum change are attention."""
        relative = [row.largest_relative_error for row in self.rounded if row.largest_sum_change is None]
        weights = [row for row in self.rounded if row.largest_sum_change is not None]
        said = [f"{max(relative):.2g} of a value's size"] if relative else []
        if weights:
            sums = max(row.largest_sum_change or 0.0 for row in weights)
            said.append(f"{max(row.largest_absolute_error for row in weights):.2g} of a weight, {sums:.2g} of a sum")
        return f"Largest errors: {', '.join(said)}; harness inspect shows them tensor by tensor."

    def under(self, names: Mapping[str, str]) -> Loss:
        """Return the record of a trace in which tensors have other names; `names` maps new names to old ones."""
        known = {row.path: row for row in self.rounded}
        rounded = (dataclasses.replace(known[old], path=new) for new, old in names.items() if old in known)
        return dataclasses.replace(self, rounded=tuple(rounded))
