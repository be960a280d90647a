"""Options of the lossy mode: a bound per role, the number of largest weights that keep their order, tensors to drop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from harness.errors import UsageError, unknown_name
from harness.trace.loss import NOT_RECOMPUTABLE
from harness.trace.manifest import Manifest
from harness.trace.schema import Role

_BOUNDED = tuple(role.value for role in (Role.PAIR, Role.SINGLE, Role.ATTENTION))
TOP_K = 10


@dataclass(frozen=True, kw_only=True)
class Request:
    """The loss that a user allows."""

    # Above 0 and below 1: relative to each value for pair and single, absolute for attention. Other roles are kept bit
    # for bit.
    bounds: Mapping[Role, float]
    top_k: int  # Number of largest weights in a row of attention that keep their order.
    drop: Mapping[str, str]  # How to recompute a tensor, by its name or by a pattern of names with ``*``.

    def named(self, manifest: Manifest) -> dict[str, str]:
        """Return how to recompute each tensor that the user drops, by path.

        Raises
        ------
        UsageError
            If a name or pattern fits no tensor.
        """
        paths = [spec.path for spec in manifest.tensors]
        found: dict[str, str] = {}
        for pattern, how in self.drop.items():
            fitting = [path for path in paths if fnmatchcase(path, pattern)]
            if not fitting:
                raise unknown_name("tensor for --drop", pattern, paths)
            found |= dict.fromkeys(fitting, how)
        return found


def parse(bounds: Sequence[str], top_k: str | None = None, drop: Sequence[str] = ()) -> Request:
    """Parse the options of the command line.

    Parameters
    ----------
    bounds : sequence of str
        Each ``ROLE=BOUND``.
    top_k : str, optional
        A positive integer; `TOP_K` if not given.
    drop : sequence of str
        Each ``NAME`` or ``NAME=HOW``, where HOW describes in words how to recompute the tensor.

    Returns
    -------
    Request
        The validated request.

    Raises
    ------
    UsageError
        If there is no bound, or an option is malformed.
    """
    found: dict[Role, float] = {}
    for role, bound in map(_bound, bounds):
        if role in found:
            raise UsageError(f"The bound of {role.value} is given twice; give --bound {role.value}=... once.")
        found[role] = bound
    if not found:
        raise UsageError(
            "--mode minimal gives up precision and needs a bound for each role that it may round, such as "
            "--bound pair=1e-2 or --bound attention=1e-3."
        )
    if top_k is not None and Role.ATTENTION not in found:
        raise UsageError("--top-k is about attention; give --bound attention=... with it, or leave it out.")
    if top_k is not None and not (top_k.isascii() and top_k.isdigit() and int(top_k) > 0):
        raise UsageError(f"--top-k has to be a positive whole number, not {top_k!r}.")
    ways = {name: how or NOT_RECOMPUTABLE for name, _, how in (text.partition("=") for text in drop)}
    return Request(bounds=found, top_k=int(top_k or TOP_K), drop=ways)


def _bound(text: str) -> tuple[Role, float]:
    name, equals, number = text.partition("=")
    if not equals:
        raise UsageError(f"--bound {text!r} has to have the form ROLE=BOUND, such as pair=1e-2.")
    if name not in _BOUNDED:
        raise unknown_name("role for --bound", name, _BOUNDED)
    try:
        bound = float(number)
    except ValueError:
        bound = 0.0
    if not 0 < bound < 1:
        raise UsageError(f"--bound {text} has to give a number above 0 and below 1.")
    return Role(name), bound
