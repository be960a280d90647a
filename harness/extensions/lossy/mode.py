"""The mode ``minimal`` of ``harness convert``: lossy within declared bounds, and checked against the source."""

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
    """Mode that rounds within bounds, and drops tensors that can be recomputed or that the user names."""

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
        """Parse the options (see `request.parse`); return a function from a source to its lossy trace and check."""
        asked = request.parse(arguments.bound, arguments.top_k, arguments.drop)
        return lambda source: (MinimalTrace(source, asked), partial(check_loss, source))


mode = _Minimal()
