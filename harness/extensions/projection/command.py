"""The command ``project``: project the cost of many traces on a store from the cost models of a run."""

from __future__ import annotations

import argparse
import dataclasses
import re
from pathlib import Path
from typing import Any

from harness.analysis.choice.mix import parse_mix, presets
from harness.analysis.plain_values import plain
from harness.analysis.report_options import find_options
from harness.cli import terminal
from harness.cli.options import add_output, add_plugins, integers
from harness.cli.parser import examples
from harness.errors import UsageError, unknown_name
from harness.extensions.projection.project import STORES, ProjectionQuestion, Store, document_of, project, save
from harness.extensions.projection.section import COLUMNS, cells
from harness.report.write import write_report

_COUNTS = {
    "traces": ("10000", "number of traces"),
    "n_res": ("1024", "their length, in residues"),
    "readers": ("1", "number of simultaneous readers"),
    "accesses": ("1", "accesses to each trace"),
}
_TIMES = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
_RATES = {"kbit": 125.0, "Mbit": 125e3, "Gbit": 125e6}
_PRICES = {
    "price_storage": ("gigabyte_month", "USD for storing a gigabyte (10**9 bytes) for a month"),
    "price_gets": ("thousand_gets", "USD for 1000 requests that read"),
    "price_puts": ("thousand_puts", "USD for 1000 uploaded objects"),
    "price_out": ("gigabyte_out", "USD for a gigabyte that leaves the store's region"),
}


def add_project(parser: argparse.ArgumentParser) -> None:
    """Project a run onto many traces on a store: cost, time and requests."""
    parser.description = "Project a run onto many traces on a store: cost, time and requests, as a projection."
    parser.epilog = examples(
        "project results/first --readers 50",
        "project results/first --traces 1000 --latency 20ms --bandwidth 1Gbit",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="the run's folder; it must have several lengths")
    add = parser.add_argument_group("projection").add_argument
    for name, (default, what) in _COUNTS.items():
        add(_flag(name), default=default, metavar="N", help=what)
    mixes = f"mix of accesses: {', '.join(presets())}, or as for report"
    add("--mix", default="shared-cluster", metavar="MIX", help=mixes)
    add("--trace", metavar="NAME[:key=value,...]", help="which trace of the run (default: the only synthetic one)")
    add = parser.add_argument_group("the store").add_argument
    add("--store", default="s3", metavar="NAME", help=f"one of {', '.join(STORES)}")
    add("--latency", metavar="TIME", help="latency of a request, such as 20ms (default: the store's)")
    add("--bandwidth", metavar="RATE", help="bandwidth of each reader, such as 1Gbit (default: the store's)")
    add("--in-flight", metavar="N", help="simultaneous requests of an access (default: 1)")
    for option, (name, what) in _PRICES.items():
        add(_flag(option), metavar="USD", help=f"{what} (default of s3: {getattr(STORES['s3'], name):g})")
    add_plugins(parser)
    add_output(parser, quiet="errors", json=True)
    parser.set_defaults(command=_project)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _project(arguments: argparse.Namespace) -> int:
    counts = {name: _count(getattr(arguments, name), _flag(name)) for name in _COUNTS}
    question = ProjectionQuestion(**counts, mix=parse_mix(arguments.mix), store=_store(arguments))
    with terminal.busy("projecting, and writing the report", quiet=arguments.quiet):
        projection = project(arguments.run, arguments.trace, question)
        path = save(projection, arguments.run)
        written = write_report(arguments.run, find_options(arguments.run))
    if arguments.json:
        terminal.result(document_of(projection))
    if not arguments.quiet:
        title = f"Projection: {question.traces:,} traces of {question.n_res} residues {question.asked}"
        shown = terminal.table(title, *COLUMNS)
        for row in plain(projection.table):
            shown.add_row(*cells(row))
        terminal.console().print(shown, markup=False)
        for note in projection.notes:
            terminal.say(note)
        terminal.say(f"Kept in {path} and shown in {written.page}.")
    return 0


def _store(arguments: argparse.Namespace) -> Store:
    if arguments.store not in STORES:
        raise unknown_name("store", arguments.store, STORES)
    store = STORES[arguments.store]
    changes: dict[str, Any] = {}
    if arguments.latency is not None:
        changes["latency"] = _quantity(arguments.latency, "--latency", _TIMES)
    if arguments.bandwidth is not None:
        changes["bandwidth"] = _quantity(arguments.bandwidth, "--bandwidth", _RATES, above=True)
    if arguments.in_flight is not None:
        changes["in_flight"] = _count(arguments.in_flight, "--in-flight")
    for option, (name, _) in _PRICES.items():
        if (given := getattr(arguments, option)) is not None:
            changes[name] = _quantity(given, _flag(option), {"": 1.0})
            changes["prices_from"] = f"given here, the others from {store.prices_from}"
    return dataclasses.replace(store, **changes)


def _quantity(text: str, option: str, units: dict[str, float], *, above: bool = False) -> float:
    """Parse a number with a unit, which must be at least 0, or above 0 if `above` is set."""
    found = re.fullmatch(r"(\d+\.?\d*|\.\d+)(e-?\d+)?\s*([A-Za-z]*)", text)
    value = float(f"{found[1]}{found[2] or ''}") * units[found[3]] if found and found[3] in units else -1.0
    if value < 0 or (above and value == 0) or value == float("inf"):
        named = ", ".join(filter(None, units))
        raise UsageError(f"{option} takes a number{f' with its unit, one of {named}' if named else ''}, got {text!r}.")
    return value


def _count(text: str, option: str) -> int:
    (value,) = integers(text, option, single=True)
    return value
