"""Errors for users: each has a message of one sentence that states what to do, and an exit code."""

from __future__ import annotations

import errno
import signal
import unicodedata
from collections.abc import Iterable
from typing import Literal

Cause = Literal["", "machine"]
"""Cause of a failure: ``machine``, or empty if the object under test, such as a format, failed."""

_OF_THE_MACHINE = (
    errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EIO,
    errno.EMFILE, errno.ENFILE, errno.EACCES, errno.EPERM, errno.EROFS,  # limits of open files, and permissions
    errno.ENOLCK, errno.EAGAIN, errno.ESTALE, errno.ETIMEDOUT,  # of network filesystems
)  # fmt: skip
_KILLED = (-signal.SIGKILL, -signal.SIGTERM)  # exit codes if killed from outside, as by the system without memory
_NAMED = 40  # most known names listed in a message about an unknown one


class HarnessError(Exception):
    """Something failed while running; exit code 1."""

    exit_code = 1
    cause: Cause = ""  # Cause of the failure: "" or "machine"; `cause_of` also considers chained exceptions.


class UsageError(HarnessError):
    """The request is invalid; exit code 2."""

    exit_code = 2


class MachineError(HarnessError):
    """The machine failed: no space, no memory, a killed process, a lost server."""

    cause: Cause = "machine"


class ArchiveError(HarnessError):
    """An archive is missing, damaged, of another kind, or inconsistent."""


def cause_of(error: BaseException) -> Cause:
    """Return the cause of a failure, from the error and all errors of its group and of its exception chain."""
    waiting, seen = [error], set[int]()
    while waiting:
        found = waiting.pop()
        if id(found) in seen:  # a library may raise an error from the group that it is in
            continue
        seen.add(id(found))
        of_system = isinstance(found, OSError) and found.errno in _OF_THE_MACHINE
        if of_system or isinstance(found, MemoryError) or (isinstance(found, HarnessError) and found.cause):
            return "machine"
        if isinstance(found, BaseExceptionGroup):
            waiting += found.exceptions
        before = found.__cause__ or (None if found.__suppress_context__ else found.__context__)
        waiting += [before] if before else []
    return ""


def first_of(error: Exception) -> Exception:
    """Return the first error of an exception group, as concurrent tasks raise it; any other error itself."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def ended(what: str, code: int | None) -> HarnessError:
    """Return the error for a process that ended without an answer, without raising it.

    Parameters
    ----------
    what : str
        Name of the process, which starts the sentence.
    code : int or None
        Its exit code, negative for a signal; None if unknown.
    """
    if code in _KILLED:
        name = signal.Signals(-code).name
        return MachineError(f"{what} was killed from outside ({name}), as the system does when memory runs out")
    return HarnessError(f"{what} ended without an answer (exit code {code})")


def escaped(text: str) -> str:
    """Return a text that is safe to print in a terminal, in one line.

    Names of files, keys and labels may contain characters that move the cursor, change colours, reverse the direction
    of writing, or cannot be printed. They are replaced by Python escapes, such as ``\\x1b``.
    """
    return "".join(c if c.isprintable() or unicodedata.category(c) == "Zs" else repr(c)[1:-1] for c in text)


def escaped_lines(text: str) -> str:
    """Return a text of several lines, with `escaped` applied to each."""
    return "\n".join(escaped(line) for line in text.split("\n"))


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """Return the error for an unknown name; its message suggests the most similar known name.

    Parameters
    ----------
    kind : str
        Kind of object that was requested, such as ``"format"``.
    name : str
        The name that was given.
    known : iterable of str
        The names that exist.

    Returns
    -------
    UsageError
        Not raised here, so that the caller can raise it.
    """
    names = sorted(known)
    import difflib  # imported late, so that only this error waits for it

    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    hint = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(names[:_NAMED])}{more}."
    return UsageError(f"There is no {kind} named {name!r}; {hint}")
