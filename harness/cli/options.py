"""Options that several commands have: names and numbers separated by commas, sizes, limits, plug-ins, output."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Collection, Iterable
from typing import Any

from harness import registry
from harness.errors import UsageError, unknown_name

_SIZE = re.compile(r"(\d{1,15})\s*(?:([KMGT])iB)?")
_UNITS = {None: 0, "K": 10, "M": 20, "G": 30, "T": 40}


def typed(group: registry.Group) -> Callable[[str], str]:
    """Return the ``type`` of an option that names a plug-in: ``module:attribute`` is allowed because it was typed."""

    def take(text: str) -> str:
        if ":" in text:
            registry.allow((group, text))
        return text

    return take


def one_of(kind: str, known: Collection[str]) -> Callable[[str], str]:
    """Return the ``type`` of an option that is one of a few names; it raises UsageError with the most similar one."""

    def take(text: str) -> str:
        if text not in known:
            raise unknown_name(kind, text, known)
        return text

    return take


def _existing(group: registry.Group) -> Callable[[str], str]:
    """Return the ``type`` of an option that names a plug-in, which must exist even if it is not needed."""

    def take(text: str) -> str:
        registry.load(group, typed(group)(text))
        return text

    return take


def untyped(formats: Iterable[str], suites: Iterable[str]) -> str:
    """Return the end of a message that names plug-ins of a run that were not typed; empty if there are none."""
    groups: dict[registry.Group, Iterable[str]] = {"formats": formats, "suites": suites}
    missing = [
        f"{registry.OPTION[group]} {name}"
        for group, names in groups.items()
        for name in names
        if ":" in registry.registered_name(group, name) and (group, name) not in registry.allowed()
    ]
    if not missing:
        return ""
    return f" The run has plug-ins that no installed package registers: if you trust them, add {' '.join(missing)}."


def add_plugins(parser: argparse.ArgumentParser, purpose: str = "a run or profile file may ask for") -> None:
    """Add ``--backend`` and ``--suite``, which name plug-ins that no installed package registers."""
    added = parser.add_argument_group("formats and suites that are not registered")
    for option, group, name, what in (
        ("--backend", "formats", "MODULE:CLASS", "format"),
        ("--suite", "suites", "MODULE:ATTRIBUTE", "suite"),
    ):
        added.add_argument(
            option, action="append", default=[], type=_existing(group), metavar=name,  # type: ignore[arg-type]
            help=f"a {what} of your own that {purpose}; repeatable",
        )  # fmt: skip


def names(text: str | None, kind: str) -> tuple[str, ...]:
    """Split names of a kind at commas, without duplicates; empty for None. Raise UsageError if a name is empty."""
    found = tuple(part.strip() for part in text.split(",")) if text is not None else ()
    if text is not None and not all(found):
        raise UsageError(f"Give the {kind}s as names separated by commas, got {text!r}.")
    return tuple(dict.fromkeys(found))


def integers(text: str, option: str, *, single: bool = False, least: int = 1) -> tuple[int, ...]:
    """Split integers at commas.

    Parameters
    ----------
    text, option : str
        The text, and the option for which it was given.
    single : bool
        Whether only one number is allowed.
    least : int
        The smallest allowed number, 0 or 1.

    Returns
    -------
    tuple of int
        Each number once, in the order given.

    Raises
    ------
    UsageError
        If a part is not a number or too small, or if there are several numbers and `single` is set.
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


def integer(option: str, *, least: int = 1) -> Callable[[str], int]:
    """Return the ``type`` of an option that is one integer; see `integers`."""
    return lambda text: integers(text, option, single=True, least=least)[0]


def add_max_inflated(parser: argparse.ArgumentParser) -> None:
    """Add the option of commands that inflate what a stranger may have compressed."""
    parser.add_argument_group("limit for untrusted files").add_argument(
        "--max-inflated",
        metavar="SIZE",
        help="limit of the inflated size of one compressed file, or of the tensors of one archive, such as 8GiB "
        "(default: 4GiB, small files less; for an archive at least 100 times its size)",
    )


def max_inflated(arguments: argparse.Namespace) -> int | None:
    """Return the bytes that ``--max-inflated`` allows, None if not given; raise UsageError if it is not a size."""
    text = getattr(arguments, "max_inflated", None)
    return None if text is None else size("--max-inflated")(text)


def size(option: str, *, least: int = 0) -> Callable[[str], int]:
    """Return the ``type`` of an option that is a size in bytes, or with a unit from KiB to TiB such as ``8GiB``."""

    def take(text: str) -> int:
        found = _SIZE.fullmatch(text)
        value = int(found[1]) << _UNITS[found[2]] if found else -1
        if value < least:
            more = f" of at least {least}" if least and found else ""
            raise UsageError(
                f"{option} takes a number of bytes{more}, or one of MiB or GiB such as 8GiB, got {text!r}."
            )
        return value

    return take


class _Json(argparse.Action):
    """The action of ``--json``; it also sets ``quiet``, because the command prints only JSON."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: Any = None) -> None:
        namespace.json = namespace.quiet = True


def add_output(parser: argparse.ArgumentParser, *, quiet: str = "", verbose: bool = False, json: bool = False) -> None:
    """Add what decides how much is printed, of which one may be given.

    Parameters
    ----------
    parser : ArgumentParser
        Of the command.
    quiet : str
        All that ``--quiet`` leaves; empty for a command that has no such option.
    verbose : bool
        Whether it has steps that ``--verbose`` can name.
    json : bool
        Whether it can print its result as JSON, which makes it quiet.
    """
    one = parser.add_argument_group("printed output").add_mutually_exclusive_group()
    if quiet:
        one.add_argument("-q", "--quiet", action="store_true", help=f"print nothing but {quiet}")
    if verbose:
        one.add_argument("-v", "--verbose", action="store_true", help="print a line for every step instead of a bar")
    if json:
        help_ = "print the result as JSON and nothing else"
        one.add_argument("--json", action=_Json, nargs=0, default=False, help=help_)
