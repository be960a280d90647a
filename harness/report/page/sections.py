"""The other sections of the report in words: grades, time, ledger, noise, limits."""

from __future__ import annotations

from typing import Any

import pandas as pd

from harness.analysis import formatting as words
from harness.analysis.accesses import rows_where, written_once
from harness.analysis.findings import Findings
from harness.analysis.grades import criteria, earlier
from harness.analysis.growth import LEAST_LENGTHS
from harness.analysis.noise import Noise
from harness.analysis.verdict import VERDICT_ROUNDS
from harness.records import CONTROL, RAW
from harness.report.page.memory import warm_limits
from harness.report.section import Brought


def facts(findings: Findings) -> str:
    """Say in a line what was measured where."""
    session, config = findings.session, findings.config
    parts = []
    if session.get("cpu"):
        cores, limit = session.get("cores"), session.get("cores_limit")
        counted = f"{cores} cores" if limit is None else f"{cores} cores of which {limit:g} may be used"
        kind = "virtual machine" if session.get("virtual_machine") else "machine"
        memory = f", {session['memory_bytes'] / 2**30:.0f} GiB" if session.get("memory_bytes") else ""
        if limit := session.get("memory_limit_bytes"):
            memory += f" of which {limit / 2**30:.1f} may be used"
        parts.append(f"Measured on a {kind} with {counted} ({session['cpu']}{memory}, {session.get('filesystem')})")
    if not findings.without_formats:
        parts.append(f"{config.rounds} rounds, seed {config.seed}, baseline {findings.options.baseline}")
    if session.get("commit"):
        parts.append(f"harness at commit {session['commit'][:12]}")
    if session.get("started"):
        parts.append(f"started {session['started']}")
    return "; ".join(parts) + "."


def warnings(findings: Findings) -> list[str]:
    """Say what a reader must know before the answer."""
    found = list(findings.incomplete)
    cells = findings.summary
    few = cells[cells["verdict"].notna() & (cells["samples"] < VERDICT_ROUNDS) & ~written_once(cells)]
    if len(few):
        suites = words.listed(dict.fromkeys(few["suite"].str.replace("_", " ")))
        found.append(
            f"{len(few)} comparisons have fewer than {VERDICT_ROUNDS} rounds, so they have no verdict: {suites}."
        )
    if readers := _readers(findings.ledger):
        found.append(
            f"Each format is read through one reader: {readers}. A difference of read times is due to the reader as "
            "much as to the format."
        )
    failed = findings.cells[findings.cells["status"] == "failed"]
    for (name, reason), cells in failed.groupby(["format", "reason"], sort=False):
        cases = words.listed(dict.fromkeys(cells["suite"].str.replace("_", " ")))
        found.append(f"{name} failed in {len(cells)} cells ({cases}): {reason}. It has no time and no grade there.")
    if (noise := findings.noise).aa_different:
        found.append(
            f"In {noise.aa_different} of {noise.aa_judged} cells two equal arms would be called different: the machine "
            "was not quiet, and the floor there is high."
        )
    return found


def _readers(ledger: pd.DataFrame) -> str:
    """Say by what each format was read, as the opened archives said; empty for a run of before that was recorded."""
    if "reader" not in ledger:
        return ""
    known = ledger[(ledger["reader"] != "") & (ledger["format"] != RAW)]
    pairs = dict.fromkeys(zip(known["format"], known["reader"], strict=True))
    return "; ".join(f"{name} by {reader}" for name, reader in pairs)


def grades(findings: Findings) -> dict[str, Any]:
    """Arrange the grades with the cells behind them."""
    found = findings.grades
    formats = words.ordered(found.table["format"])
    rows = []
    for criterion, part in found.table.groupby("criterion", sort=False):
        by_format = {row["format"]: row for row in part.to_dict("records")}
        rows.append(
            {
                "criterion": str(criterion).capitalize(),
                "cells": [_graded(by_format[name], earlier=findings.options.earlier) for name in formats],
            }
        )
    cells = []
    place = ["criterion", "trace", "n_res", "access", "cache", "executor", "workers"]
    for _, part in found.cells.groupby(place, sort=False, dropna=False):
        row = part.iloc[0]
        exact = any(c.name == row["criterion"] and c.exact for c in criteria())
        by_format = {r["format"]: r for r in part.to_dict("records")}
        cells.append(
            {
                "criterion": row["criterion"],
                "trace": words.pretty_trace(str(row["trace"])),
                "n_res": "" if pd.isna(row["n_res"]) else f"{int(row['n_res'])}",
                "case": words.case(row),
                "figures": [
                    f"{words.size(r['value']) if exact else words.duration(r['value'])}, {words.times(r['ratio'])}"
                    if (r := by_format.get(name))
                    else "–"
                    for name in formats
                ],
            }
        )
    return {
        "columns": formats,
        "rows": rows,
        "cells": cells,
        "rules": found.rules + ([_earlier()] if findings.options.earlier else []),
        "disagreements": found.disagreements if findings.options.earlier else [],
        "earlier": earlier().name,
    }


def _earlier() -> str:
    return f"Grades of {earlier().name} are from {earlier().source}; they were given to its own settings."


def _graded(row: dict[Any, Any], *, earlier: bool) -> dict[str, str]:
    given = row["grade"] if isinstance(row["grade"], str) else ""
    figure = ""
    if given:
        same = row["low"] == row["high"]
        figure = f"({words.times(row['figure'])}{'' if same else ', ' + words.between(row['low'], row['high'])})"
    notes = (["borderline"] if row["borderline"] else []) + ([str(row["reason"])] if row["reason"] else [])
    if earlier and row["seed_grade"]:
        notes.append(f"earlier: {row['seed_grade']}" + (", which the data contradict" if row["disagrees"] else ""))
    return {"grade": given, "figure": figure, "note": "; ".join(notes)}


_SETTINGS = ["format", "profile", "codec", "origin", "why", "versions", "threads", "caches", "reader"]
_LEDGER = [
    "Format",
    "Profile",
    "Codec",
    "Chunks",
    "Default or chosen, and why",
    "Versions",
    "Reader",
    "Threads",
    "Caches",
]


def ledger(table: pd.DataFrame) -> dict[str, Any]:
    """Show each setting once, with the chunks of every role that has it, for the longest sequence of the run."""
    if table.empty:
        return {"columns": [], "rows": []}
    length = pd.to_numeric(table["n_res"], errors="coerce").fillna(0)
    subject = table[length == length.max()]
    subject = subject[subject["trace"] == subject["trace"].iloc[0]].reindex(columns=table.columns.union(["reader"]))
    rows = []
    for key, part in subject.groupby(_SETTINGS, sort=False, dropna=False):
        name, profile, codec, origin, why, versions, threads, caches, reader = (
            "–" if pd.isna(value) else str(value) for value in key
        )
        by_role = {str(row["role"]): _chunks(row) for row in part.to_dict("records")}
        same = set(by_role.values())
        chunks = same.pop() if len(same) == 1 else "; ".join(f"{role} {text}" for role, text in by_role.items())
        rows.append([name, profile, codec, chunks, f"{origin}: {why}", versions, reader or "–", threads, caches])
    rows.sort(key=lambda row: words.ordered(table["format"]).index(row[0]))
    kept = [place for place, name in enumerate(_LEDGER) if name != "Reader" or "reader" in table]
    return {"columns": [_LEDGER[place] for place in kept], "rows": [[row[place] for place in kept] for row in rows]}


def _chunks(row: dict[Any, Any]) -> str:
    if not row["chunks"]:
        return "–"
    return f"{row['chunks']}" + (f" in shards of {row['shards']}" if row["shards"] else "")


def noise(found: Noise) -> list[str]:
    """Say how noisy the run was."""
    said = []
    if found.aa_cells:
        said.append(
            f"A/A: the baseline ran twice under two names in {found.aa_cells} cells. The two differ by "
            f"{words.percent(found.aa_median or 0)} at the median and {words.percent(found.aa_largest or 0)} at most; "
            + (
                f"{found.aa_different} of {found.aa_judged} would be called different by the rule for formats. "
                if found.aa_judged
                else ""
            )
            + "No difference below a cell's floor is reported."
        )
    else:
        said.append("A/A: no format ran twice in this run, so there is no floor.")
    if found.spread:
        spread = [f"{name} {words.percent(value)}" for name, value in found.spread.items() if name != CONTROL]
        said.append(f"Spread over rounds, the median over cells (1.4826 MAD over the median): {words.listed(spread)}.")
    if found.drift_median is not None and found.drift_largest is not None:
        said.append(
            f"Drift from the first round to the last, common to all formats: {words.percent(found.drift_median)} at "
            f"the median over cells, {words.percent(found.drift_largest)} at most. Rounds are interleaved, so it falls "
            "on all alike."
        )
    if found.position_effect is not None:
        said.append(
            f"Position: the format that came first in a round took {words.percent(abs(found.position_effect))} "
            f"{'longer' if found.position_effect > 0 else 'less'} than those after it, at the median; the order is "
            "random."
        )
    loads = [
        f"{value:.2f} {when}"
        for when, value in (
            ("before", found.load_before),
            ("at most during", found.load_during),
            ("after", found.load_after),
        )
        if value is not None
    ]
    if loads:
        said.append(f"Load average of the last minute: {words.listed(loads)}.")
    if found.virtual_machine is not None:
        said.append(
            "A virtual machine: what its host does at the same time cannot be seen from inside."
            if found.virtual_machine
            else "Not a virtual machine."
        )
    if found.rounds_least is not None:
        same = found.rounds_least == found.rounds_most
        once = " (the whole archive is written once)" if found.rounds_least == 1 and not same else ""
        said.append(f"Rounds per timed cell: {found.rounds_least}{'' if same else f' to {found.rounds_most}'}{once}.")
    said += [
        f"{group.samples} samples {group.status} ({words.listed(group.formats)}): {group.reason}."
        for group in found.dropped
        if group.status != "skipped"
    ]
    return said


def _lacking(findings: Findings, what: str) -> list[str]:
    """List the traces that lack something, as their manifests say."""
    traces = dict.fromkeys(str(trace) for trace in findings.samples["trace"])
    return [words.pretty_trace(trace) for trace in traces if what in findings.lacks.get(trace, ())]


def limits(findings: Findings, brought: Brought) -> list[str]:
    """Say what the run does not show: first of cells that are no format's, then of formats and what explains them."""
    config, samples = findings.config, findings.samples
    others, own = (
        [text for one, found in brought if (one.cells(found) is None) is of for text in one.limits(found, findings)]
        for of in (True, False)
    )
    if findings.without_formats:
        return own
    said = own
    where = (
        f"Archives were written to a local disk and read from {config.store.describe()}, each time by a new client: "
        "the figures hold for such a store, which may keep what it has sent before in a cache of its own."
        if config.store
        else "One machine, one local disk: nothing here says how a format behaves on object storage or under another "
        "load."
    )
    said += [
        where,
        "The answer holds for the uses, traces and lengths that were measured, and up to where it is said to flip.",
    ]
    if config.store:
        said.append(
            "The named uses count warm and cold reads of a local disk, so a run that reads from a store answers none "
            "of them: compare its figures."
        )
    elif "cold" in config.caches:
        said.append(
            "Cold means this system's page cache, confirmed to be empty; a host or a disk may still have held the data."
        )
    else:
        said.append("Only warm reads were measured: how formats compare when data come from the disk is not known.")
    traces = [words.pretty_trace(str(t)) for t in samples["trace"].unique()]
    if untrained := _lacking(findings, "untrained"):
        said.append(
            f"{words.listed(untrained)} has untrained weights: good for shapes and speed, not for compression ratios."
        )
    if lossy := _lacking(findings, "lossy"):
        said.append(
            f"{words.listed(lossy)} was rounded within declared bounds before it was measured (harness inspect has the "
            "errors): its sizes are not those of the original, whatever the format."
        )
    if incomplete := _lacking(findings, "incomplete"):
        said.append(f"{words.listed(incomplete)} is incomplete: its layers end before the model's did.")
    if sampled := _lacking(findings, "sampled"):
        said.append(
            f"Of {words.listed(sampled)} only these layers were written and read: sizes and times of the whole trace "
            "are those of its layers, not of all of it."
        )
    largest = samples.loc[rows_where(samples, lambda info: info.one_tensor), "bytes_requested"].max()
    if largest > config.options.whole_bytes:
        said.append(
            f"A tensor of more than {words.size(config.options.whole_bytes)} is read by consecutive blocks of rows of "
            f"at most {words.size(config.options.block_bytes)}, in every format alike, and each block is checked."
        )
    if any(name.startswith("synthetic") for name in traces):
        said.append(
            "The synthetic trace matches measured statistics of real tensors; its layers are drawn independently, so "
            "it says nothing about redundancy between layers."
        )
    said += warm_limits(findings)
    if findings.growth.empty and config.rounds < VERDICT_ROUNDS and samples["n_res"].nunique() >= LEAST_LENGTHS:
        said.append(f"How times grow with length is not fitted to fewer than {VERDICT_ROUNDS} rounds.")
    return said + others
