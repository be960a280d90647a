"""The command ``project``: what many traces on a store would cost, from the cost models of a run."""

from __future__ import annotations

import argparse
import dataclasses
import math
import re
from pathlib import Path
from typing import Any

from harness.analysis.choice.mix import parse_mix, presets
from harness.analysis.findings import find_options, plain
from harness.cli import show
from harness.cli.options import add_plugins, integers
from harness.errors import UsageError, unknown_name
from harness.extensions.projection.project import STORES, Projection, ProjectionQuestion, Store, project, save
from harness.extensions.projection.section import COLUMNS, cells
from harness.report.write import write_report

_TIMES = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
_RATES = {"kbit": 125.0, "Mbit": 125e3, "Gbit": 125e6}
_PRICES = {
    "price_storage": ("gigabyte_month", "USD for a gigabyte (10**9 bytes) kept for a month"),
    "price_gets": ("thousand_gets", "USD for 1000 requests that read"),
    "price_puts": ("thousand_puts", "USD for 1000 uploaded objects"),
    "price_out": ("gigabyte_out", "USD for a gigabyte that leaves the store's region"),
}


def add_project(parser: argparse.ArgumentParser) -> None:
    """Project a run onto many traces on a store: cost, time and requests."""
    parser.description = "Project a run onto many traces on a store: cost, time and requests, as a projection."
    add = parser.add_argument
    add("run", type=Path, metavar="RUN", help="the run's folder; it has to have several lengths")
    add("--traces", default="10000", metavar="N", help="how many traces (default: 10000)")
    add("--n-res", default="1024", metavar="N", help="their length, in residues (default: 1024)")
    add("--readers", default="1", metavar="N", help="how many read at the same time (default: 1)")
    add("--accesses", default="1", metavar="N", help="accesses to each trace (default: 1)")
    add(
        "--mix",
        default="shared-cluster",
        metavar="MIX",
        help=f"what they are: {', '.join(presets())}, or as for report",
    )
    add("--trace", metavar="NAME[:key=value,...]", help="which trace of the run (default: the only synthetic one)")
    add("--store", default="s3", metavar="NAME", help=f"{', '.join(STORES)} (default: s3)")
    add("--latency", metavar="TIME", help="of a request, as 20ms (default: the store's)")
    add("--bandwidth", metavar="RATE", help="of each reader, as 1Gbit (default: the store's)")
    add("--in-flight", metavar="N", help="requests of an access at the same time (default: 1)")
    for option, (name, what) in _PRICES.items():
        add(f"--{option.replace('_', '-')}", metavar="USD", help=f"{what} (s3: {getattr(STORES['s3'], name):g})")
    add("--quiet", action="store_true", help="print nothing but errors")
    add_plugins(parser)
    parser.set_defaults(command=_project)


def _project(arguments: argparse.Namespace) -> int:
    question = ProjectionQuestion(
        traces=_count(arguments.traces, "--traces"),
        n_res=_count(arguments.n_res, "--n-res"),
        readers=_count(arguments.readers, "--readers"),
        accesses=_count(arguments.accesses, "--accesses"),
        mix=parse_mix(arguments.mix),
        store=_store(arguments),
    )
    projection = project(arguments.run, arguments.trace, question)
    path = save(projection, arguments.run)
    written = write_report(arguments.run, find_options(arguments.run))
    if not arguments.quiet:
        _print(projection)
        show.say(f"Kept in {path} and shown in {written.page}.")
    return 0


def _print(projection: Projection) -> None:
    question = projection.question
    shown = show.table(
        f"Projection: {question.traces:,} traces of {question.n_res} residues on {question.store.name}, "
        f"each read {question.accesses:,} times, by {question.readers} readers at once",
        *COLUMNS,
    )
    for row in plain(projection.table):
        shown.add_row(*cells(row))
    show.console().print(shown, markup=False)
    for note in projection.notes:
        show.say(note)


def _store(arguments: argparse.Namespace) -> Store:
    if arguments.store not in STORES:
        raise unknown_name("store", arguments.store, STORES)
    store = STORES[arguments.store]
    changes: dict[str, Any] = {}
    if arguments.latency is not None:
        changes["latency"] = _quantity(arguments.latency, "--latency", _TIMES, least=0.0)
    if arguments.bandwidth is not None:
        changes["bandwidth"] = _quantity(arguments.bandwidth, "--bandwidth", _RATES)
    if arguments.in_flight is not None:
        changes["in_flight"] = _count(arguments.in_flight, "--in-flight")
    for option, (name, _) in _PRICES.items():
        if (given := getattr(arguments, option)) is not None:
            changes[name] = _quantity(given, f"--{option.replace('_', '-')}", {"": 1.0}, least=0.0)
            changes["prices_from"] = f"given here, the others from {store.prices_from}"
    return dataclasses.replace(store, **changes)


def _quantity(text: str, option: str, units: dict[str, float], *, least: float | None = None) -> float:
    """Read a number with a unit; without `least` it has to be above 0."""
    found = re.fullmatch(r"([0-9.]+(?:e-?[0-9]+)?)\s*([A-Za-z]*)", text)
    try:
        value = float(found[1]) * units[found[2]] if found else math.nan
    except (ValueError, KeyError):
        value = math.nan
    if not (value > 0 if least is None else value >= least) or math.isinf(value):
        named = [unit for unit in units if unit]
        wanted = f"a number with its unit, one of {', '.join(named)}" if named else "a number"
        raise UsageError(f"{option} takes {wanted}, got {text!r}.")
    return value


def _count(text: str, option: str) -> int:
    (value,) = integers(text, option, single=True)
    return value
