"""Report sections on the basis of the figures: the settings of formats, the noise of the run, its limits."""

from __future__ import annotations

from typing import Any

import pandas as pd

from harness.analysis import formatting
from harness.analysis.accesses import archive_sizes, of_kind, rows_where
from harness.analysis.efforts import BEST, stated
from harness.analysis.findings import Findings
from harness.analysis.noise import Noise
from harness.analysis.noise_floors import NEAREST
from harness.analysis.report_options import SIMILAR_SINCE
from harness.records import kind_of
from harness.report.page.sentences import sentences
from harness.report.section import Block, Brought, Items, Table, Text
from harness.sampling.cache import BESIDE_OTHERS, WARM_FROM

_SETTINGS = ["format", "profile", "codec", "origin", "why", "versions", "reader", "threads", "caches", "writer"]


def ledger(findings: Findings) -> list[Block]:
    """Return each setting once, with the chunks of every role that has it, for the longest sequence of the run."""
    told = findings.ledger
    if told.empty:
        return []
    length = pd.to_numeric(told["n_res"], errors="coerce").fillna(0)
    subject = told[length == length.max()]
    subject = subject[subject["trace"] == subject["trace"].iloc[0]]
    subject = subject.reindex(columns=told.columns.union(["reader", "writer"]))
    rows = []
    for key, part in subject.groupby(_SETTINGS, sort=False, dropna=False):
        own = {name: "–" if pd.isna(value) else str(value) for name, value in zip(_SETTINGS, key, strict=True)}
        row = {
            "Format": own["format"], "Profile": own["profile"], "Codec": own["codec"], "Chunks": _chunks(part),
            "Default or chosen, and why": f"{own['origin']}: {own['why']}", "Versions": own["versions"],
            "Reader": own["reader"] or "–", "Threads": own["threads"], "Caches": own["caches"],
            "Writer": own["writer"],
        }  # fmt: skip
        unknown = {name.capitalize() for name in ("reader", "writer") if name not in told}  # in older runs
        rows.append({name: text for name, text in row.items() if name not in unknown})
    rows.sort(key=lambda row: formatting.ordered(told["format"]).index(row["Format"]))
    table = Table(
        label="Fairness ledger",
        caption="For the longest sequence of the run; ledger.csv has every trace and tensor.",
        columns=list(rows[0]),
        rows=[list(row.values()) for row in rows],
        folded="What each format was set to, and why",
    )
    replies = _replies(told) if _known_readers(told) else []
    return [Text("What each format was set to, whether that was a default or a choice, and why."), table, *replies]


def _replies(told: pd.DataFrame) -> list[Block]:
    """Return objections that maintainers of the formats may have, with replies."""
    backends = {name: backend for name in formatting.ordered(told["format"]) if (backend := stated(name))}
    said = [
        f"{name}: {objection} {reply}" for name, backend in backends.items() for objection, reply in backend.objections
    ]
    return [Items(said, lead="Objections and replies:")] if said else []


def _known_readers(told: pd.DataFrame) -> bool:
    """Return whether readers were compared; objections are to that comparison."""
    return "read_by" in told and bool((told["read_by"] != "").any())


def _chunks(part: pd.DataFrame) -> str:
    by_role = {}
    for row in part.to_dict("records"):
        shards = f" in shards of {row['shards']}" if row["shards"] else ""
        by_role[str(row["role"])] = f"{row['chunks']}{shards}" if row["chunks"] else "–"
    same = set(by_role.values())
    return same.pop() if len(same) == 1 else "; ".join(f"{role} {text}" for role, text in by_role.items())


def noise(found: Noise) -> list[str]:
    """Return sentences on the noise of the run."""
    loads = {"before": found.load_before, "at most during": found.load_during, "after": found.load_after}
    spreads = [
        f"{name} {formatting.percent(value)}" for name, value in found.spread.items() if kind_of(name) != "control"
    ]
    known = [f"{value:.2f} {when}" for when, value in loads.items() if value is not None]
    return sentences("noise", vars(found) | {"spreads": spreads, "loads": known})


def limits(findings: Findings, brought: Brought) -> list[str]:
    """Return sentences on what the run does not show: of sections with cells, of formats, of other sections."""
    others, own = (
        [text for one, found in brought if (one.cells(found) is None) is of for text in one.limits(found, findings)]
        for of in (True, False)
    )
    if findings.without_formats:
        return own
    config, samples = findings.config, findings.samples
    traces = dict.fromkeys(str(trace) for trace in samples["trace"])
    lacking: dict[str, list[str]] = {"untrained": [], "lossy": [], "incomplete": [], "sampled": []}
    for trace in traces:
        for what in findings.lacks.get(trace, ()):
            lacking[what].append(formatting.pretty_trace(trace))
    largest = samples.loc[rows_where(samples, lambda info: info.one_tensor), "bytes_requested"].max()
    said = {
        "config": config,
        "lacking": lacking,
        "in_blocks": largest > config.options.whole_bytes,
        "synthetic": any(trace.startswith("synthetic") for trace in traces),
        "warm": _warm(findings),
        "raised": findings.version >= SIMILAR_SINCE and (findings.summary["effort"] == BEST).any(),
        "nearest": NEAREST,
        "nodes": findings.nodes,
    }
    return [*own, *sentences("limits", said), *others]


def _warm(findings: Findings) -> dict[str, Any]:
    """Return the archives that were too large for the page cache, alone or together with those of other formats."""
    memory = findings.session.get("memory_limit_bytes") or findings.session.get("memory_bytes")
    found: dict[str, Any] = {"memory": memory, "beside": BESIDE_OTHERS, "enough": WARM_FROM, "large": [], "larger": []}
    if memory and not findings.config.store and "warm" in findings.config.caches:
        archives = archive_sizes(findings.samples)
        archives = archives[~of_kind(archives, "control")].drop_duplicates(["trace", "n_res", "format", "profile"])
        archives = archives.sort_values("size_bytes", ascending=False)
        found["large"] = _named(archives[archives["size_bytes"] > BESIDE_OTHERS * memory])
        found["larger"] = _named(archives[archives["size_bytes"] > memory])
    return found


def _named(archives: pd.DataFrame) -> list[str]:
    """Return a name for each archive, with format, length and size."""
    lengths = ["" if pd.isna(n_res) else f" at {int(n_res)} residues" for n_res in archives["n_res"]]
    rows = zip(archives["format"], lengths, archives["size_bytes"], strict=True)
    return [f"{name}{length} ({formatting.size(size)})" for name, length, size in rows]
