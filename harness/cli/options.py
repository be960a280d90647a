"""What several commands read from an option's text: names and numbers separated by commas."""

from __future__ import annotations

from harness.errors import UsageError


def names(text: str | None, kind: str) -> tuple[str, ...]:
    """Split names at commas.

    Parameters
    ----------
    text : str or None
        What was given; None when nothing was.
    kind : str
        What the names are of, for the error.

    Returns
    -------
    tuple of str
        Each once, in the order given; empty for None.

    Raises
    ------
    UsageError
        When one of them is empty.
    """
    found = tuple(part.strip() for part in text.split(",")) if text is not None else ()
    if text is not None and not all(found):
        raise UsageError(f"Give the {kind}s as names separated by commas, got {text!r}.")
    return tuple(dict.fromkeys(found))


def integers(text: str, option: str, *, single: bool = False, least: int = 1) -> tuple[int, ...]:
    """Split whole numbers at commas.

    Parameters
    ----------
    text : str
        What was given.
    option : str
        The option, for the error.
    single : bool
        Whether only one number is wanted.
    least : int
        The smallest that is allowed, 0 or 1.

    Returns
    -------
    tuple of int
        Each once, in the order given.

    Raises
    ------
    UsageError
        When a part is no number or too small, or there are several where one is wanted.
    """
    try:
        values = tuple(int(part) for part in text.split(","))
    except ValueError:
        values = ()
    if not values or any(value < least for value in values) or (single and len(values) > 1):
        kind = "positive integer" if least else "non-negative integer"
        wanted = f"a {kind}" if single else f"{kind}s separated by commas"
        raise UsageError(f"{option} takes {wanted}, got {text!r}.")
    return tuple(dict.fromkeys(values))
