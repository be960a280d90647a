"""The errors a user can meet, each one sentence that says what to do, with its exit code."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class HarnessError(Exception):
    """Something failed while running; exit code 1."""

    exit_code = 1


class UsageError(HarnessError):
    """The caller asked for something that cannot be; exit code 2."""

    exit_code = 2


class ArchiveError(HarnessError):
    """An archive is missing, damaged, of another kind, or does not hold what it says."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """Build the error for a name that is not registered, with the nearest one that is.

    Parameters
    ----------
    kind : str
        What was looked for, such as ``"format"``.
    name : str
        The name that was given.
    known : iterable of str
        The names that exist.

    Returns
    -------
    UsageError
        Not raised, so that the caller can raise it from where it stands.
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(names)}."
    return UsageError(f"There is no {kind} named {name!r}; {hint}")
