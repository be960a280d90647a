"""The mode ``minimal`` of ``harness convert``: smaller within declared bounds, and checked against its source."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

from harness.extensions.lossy import request
from harness.extensions.lossy.check import check_loss
from harness.extensions.lossy.minimal import MinimalTrace
from harness.formats.conversion import Check, Mode
from harness.trace.stream import Trace

_BOUND = "minimal: the largest error of a role, relative for pair and single, absolute for attention; repeatable"
_TOP_K = f"minimal: how many of a row's largest attention weights keep their order (default: {request.TOP_K})"
_DROP = "minimal: a tensor to drop, * for any text; HOW records how to recompute it; repeatable"


class _Minimal(Mode):
    """Rounds within bounds, and drops what can be recomputed or was named."""

    name = "minimal"
    help = "lossy within --bound, in any format"
    options = ("--bound", "--top-k", "--drop")
    checked = "against the source's values within the bounds"

    def add_arguments(self, parser: argparse._ActionsContainer) -> None:
        """Add the options of this mode."""
        parser.add_argument("--bound", action="append", default=[], metavar="ROLE=BOUND", help=_BOUND)
        parser.add_argument("--top-k", metavar="K", help=_TOP_K)
        parser.add_argument("--drop", action="append", default=[], metavar="NAME[=HOW]", help=_DROP)

    def change(self, arguments: argparse.Namespace) -> Callable[[Trace], tuple[Trace, Check]]:
        """Read what may be given up (see `request.parse`)."""
        asked = request.parse(arguments.bound, arguments.top_k, arguments.drop)
        return lambda source: (MinimalTrace(source, asked), partial(check_loss, source))


mode = _Minimal()
