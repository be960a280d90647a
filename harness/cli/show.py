"""The command ``show``: every figure of a run, and its answer, in a terminal of any width."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from harness.analysis import formatting
from harness.analysis.plain_values import plain
from harness.cli import answer, run_messages, terminal
from harness.cli.options import add_output, add_plugins
from harness.cli.parser import examples
from harness.errors import unknown_name
from harness.records import kind_of
from harness.report.write import read_report
from harness.suite import suite_named

_PLACE = ["trace", "n_res", "suite", "access", "cache", "executor", "workers"]
_NAME = 32
"""Width of a contender's name in characters; a longer name gets its own line."""


def add_show(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``show``."""
    parser.epilog = examples(
        "show results/first           # every cell, then its answer",
        "show results/first --answer  # the answer alone",
        "show results/first --json    # both, for a program to go on with",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="the run's folder")
    parser.add_argument("--answer", action="store_true", help="print only the answer")
    parser.add_argument("--trace", metavar="NAME", help="print the cells of one trace (default: all)")
    add_plugins(parser)
    add_output(parser, json=True)
    parser.set_defaults(command=_show)


def _show(arguments: argparse.Namespace) -> int:
    written = read_report(arguments.run)
    found = of_trace(written.cells, arguments.trace)
    if arguments.json:
        answered = {"deciding": list(written.deciding), "criteria": plain(written.grades)}
        terminal.result(answered if arguments.answer else {**answered, "cells": plain(found)})
        return 0
    if not arguments.answer:
        for line in cells(found):
            terminal.say(line)
        terminal.say("")
    terminal.answer(answer.screen(written))
    run_messages.where(arguments.run, written)
    return 0


def of_trace(summary: pd.DataFrame, trace: str | None) -> pd.DataFrame:
    """Return the cells of one trace, or all if none is named.

    Raises
    ------
    UsageError
        If there is no such trace; the message names existing ones.
    """
    if trace is None:
        return summary
    if trace not in set(summary["trace"]):
        raise unknown_name("trace of this run", trace, sorted(set(summary["trace"])))
    return summary[summary["trace"] == trace]


def cells(summary: pd.DataFrame) -> Iterator[str]:
    """Yield a line per contender of `WrittenReport.cells`: median, ratio with interval, and verdict."""
    before = ""
    for _, found in summary.groupby(_PLACE, sort=False, dropna=False):
        if (found["status"] != "skipped").any():
            first = found.iloc[0]
            length = "" if pd.isna(first["n_res"]) else f", {int(first['n_res'])} residues"
            if (trace := formatting.pretty_trace(str(first["trace"])) + length) != before:
                yield from ("", *textwrap.wrap(trace, answer.WIDTH))
            before = trace
            yield "  " + ": ".join(filter(None, (suite_named(str(first["suite"])).prefix, formatting.case(first))))
            for row in found.to_dict("records"):
                if kind_of(str(row["format"])) != "control":
                    yield from _contender(row)


def _contender(row: Mapping[Hashable, Any]) -> Iterator[str]:
    name = " ".join(str(row[part]) for part in ("format", "profile", "slim", "reader") if formatting.known(row[part]))
    if len(name) > _NAME:
        yield f"    {name}"
        name = ""
    yield f"    {name:<{_NAME}}{_figure(row)}".rstrip()


def _figure(row: Mapping[Hashable, Any]) -> str:
    if row["status"] != "ok":
        return f"{row['status']}: {row['reason']}".removesuffix(": ")
    if pd.isna(row["median_seconds"]):
        return f"{formatting.size(row['size_bytes']):>9}" if formatting.known(row["size_bytes"]) else ""
    text = f"{formatting.duration(row['median_seconds']):>9}"
    if pd.isna(row["ratio"]) or row["samples"] == 1:
        return text
    ratio = f"{formatting.times(row['ratio'])} ({formatting.between(row['ratio_low'], row['ratio_high'])})"
    short = {**row, "why": row["why"] if row["why"] == "rounds" else None, "decided_after": None}
    return f"{text}  {ratio} {formatting.verdict(short)}"
