"""What the manifest of a slimmed archive says of the tensors that it stands for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Origin:
    """A tensor of the trace, as far as what is stored does not say what it is.

    Attributes
    ----------
    path : str
        Its name.
    dtype, narrowing : str
        What its values were, and how they are held now (see `harness.slimming.narrowing.by_name`); empty where they
        are stored as they were.
    digest : str
        Of its values; empty where it is that of what is stored.
    of : str
        The stored tensor that is read in its place; empty where that has the same name.
    axes, role : tuple of str, str
        Of one that is read from another.
    """

    path: str
    dtype: str = ""
    narrowing: str = ""
    digest: str = ""
    of: str = ""
    axes: tuple[str, ...] = ()
    role: str = ""
