"""The command ``fidelity``: compare synthetic tensors with real ones."""

from __future__ import annotations

import argparse

from harness.analysis.plain_values import plain
from harness.cli import terminal
from harness.cli.options import add_max_inflated, add_output
from harness.cli.parser import examples
from harness.extensions.fidelity.comparison import compare
from harness.trace.sources import find_source, open_trace


def add_fidelity(parser: argparse.ArgumentParser) -> None:
    """Compare synthetic tensors with real ones."""
    parser.epilog = examples("fidelity", "fidelity --trace synthetic:n_res=128,layers=1")
    parser.add_argument(
        "--trace", default="synthetic:n_res=256,layers=2", metavar="NAME[:key=value,...]", help="the trace to compare"
    )
    add_max_inflated(parser)
    add_output(parser, json=True)
    parser.set_defaults(command=_fidelity)


def _fidelity(arguments: argparse.Namespace) -> int:
    real = {}
    for name, role in (("af2-1ubq", "pair"), ("vit-mnist", "attention")):
        source, _ = find_source(name)
        real[role] = None if source.missing() else open_trace(name)
    with terminal.busy("comparing tensors", quiet=arguments.json):
        rows = compare(open_trace(arguments.trace), real["pair"], real["attention"])
    if arguments.json:
        terminal.result([{**plain(row), "relative_difference": plain(row.relative_difference)} for row in rows])
        return 0
    table = terminal.table(arguments.trace, "tensor", "statistic", "trace", "real", "difference")
    for row in rows:
        difference = f"{row.relative_difference:+.1%}"
        table.add_row(row.role.value, row.statistic, f"{row.synthetic:.4g}", f"{row.real:.4g}", difference)
    out = terminal.console()
    out.print(table, markup=False)
    if any(row.published for row in rows):
        out.print(
            "Real values are the published ones where HARNESS_DATA names no real tensors to measure.", markup=False
        )
    return 0
