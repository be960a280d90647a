"""Records of original tensors in the manifest of a slimmed archive."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Origin:
    """A tensor of the original trace, with the properties that differ from those of the stored tensor.

    Attributes
    ----------
    path : str
        Name of the tensor.
    dtype, narrowing : str
        Original dtype, and how the values are stored now (see `harness.slimming.narrowing.by_name`); empty if the
        values are stored unchanged.
    digest : str
        Digest of the original values; empty if it is that of the stored tensor.
    of : str
        The stored tensor that is read in its place; empty if that has the same name.
    axes, role : tuple of str, str
        Axes and role, if the tensor is read from another one.
    """

    path: str
    dtype: str = ""
    narrowing: str = ""
    digest: str = ""
    of: str = ""
    axes: tuple[str, ...] = ()
    role: str = ""
