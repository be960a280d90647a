"""The sections of the report on what its figures rest on: the settings of formats, the noise of the run, its limits."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from harness.analysis import formatting as words
from harness.analysis.accesses import archive_sizes, rows_where
from harness.analysis.findings import Findings
from harness.analysis.growth import LEAST_LENGTHS
from harness.analysis.noise import Noise
from harness.analysis.verdict import VERDICT_ROUNDS
from harness.records import CONTROL
from harness.report.section import Block, Brought, Table, Text
from harness.sampling.cache import BESIDE_OTHERS, WARM_FROM

_SETTINGS = ["format", "profile", "codec", "origin", "why", "versions", "reader", "threads", "caches"]


def ledger(findings: Findings) -> list[Block]:
    """Show each setting once, with the chunks of every role that has it, for the longest sequence of the run."""
    told = findings.ledger
    if told.empty:
        return []
    length = pd.to_numeric(told["n_res"], errors="coerce").fillna(0)
    subject = told[length == length.max()]
    subject = subject[subject["trace"] == subject["trace"].iloc[0]].reindex(columns=told.columns.union(["reader"]))
    rows = []
    for key, part in subject.groupby(_SETTINGS, sort=False, dropna=False):
        own = {name: "–" if pd.isna(value) else str(value) for name, value in zip(_SETTINGS, key, strict=True)}
        row = {
            "Format": own["format"], "Profile": own["profile"], "Codec": own["codec"], "Chunks": _chunks(part),
            "Default or chosen, and why": f"{own['origin']}: {own['why']}", "Versions": own["versions"],
            "Reader": own["reader"] or "–", "Threads": own["threads"], "Caches": own["caches"],
        }  # fmt: skip
        rows.append(row if "reader" in told else {name: text for name, text in row.items() if name != "Reader"})
    rows.sort(key=lambda row: words.ordered(told["format"]).index(row["Format"]))
    table = Table(
        label="Fairness ledger",
        caption="For the longest sequence of the run; ledger.csv has every trace and tensor.",
        columns=list(rows[0]),
        rows=[list(row.values()) for row in rows],
        folded="What each format was set to, and why",
    )
    return [Text("What each format was set to, whether that was a default or a choice, and why."), table]


def _chunks(part: pd.DataFrame) -> str:
    by_role = {}
    for row in part.to_dict("records"):
        shards = f" in shards of {row['shards']}" if row["shards"] else ""
        by_role[str(row["role"])] = f"{row['chunks']}{shards}" if row["chunks"] else "–"
    same = set(by_role.values())
    return same.pop() if len(same) == 1 else "; ".join(f"{role} {text}" for role, text in by_role.items())


def noise(found: Noise) -> Iterator[str]:
    """Say how noisy the run was."""
    if found.aa_cells:
        judged = f"{found.aa_different} of {found.aa_judged} would be called different by the rule for formats. "
        yield (
            f"A/A: the baseline ran twice under two names in {found.aa_cells} cells. The two differ by "
            f"{words.percent(found.aa_median or 0)} at the median and {words.percent(found.aa_largest or 0)} at most; "
            f"{judged if found.aa_judged else ''}No difference below a cell's floor is reported."
        )
    else:
        yield "A/A: no format ran twice in this run, so there is no floor."
    if found.spread:
        spread = [f"{name} {words.percent(value)}" for name, value in found.spread.items() if name != CONTROL]
        yield f"Spread over rounds, the median over cells (1.4826 MAD over the median): {words.listed(spread)}."
    if found.drift_median is not None and found.drift_largest is not None:
        yield (
            f"Drift from the first round to the last, common to all formats: {words.percent(found.drift_median)} at "
            f"the median over cells, {words.percent(found.drift_largest)} at most. Rounds are interleaved, so it falls "
            "on all alike."
        )
    if found.position_effect is not None:
        yield (
            f"Position: the format that came first in a round took {words.percent(abs(found.position_effect))} "
            f"{'longer' if found.position_effect > 0 else 'less'} than those after it, at the median; the order is "
            "random."
        )
    loads = {"before": found.load_before, "at most during": found.load_during, "after": found.load_after}
    if known := [f"{value:.2f} {when}" for when, value in loads.items() if value is not None]:
        yield f"Load average of the last minute: {words.listed(known)}."
    if found.virtual_machine:
        yield "A virtual machine: what its host does at the same time cannot be seen from inside."
    elif found.virtual_machine is not None:
        yield "Not a virtual machine."
    if found.rounds_least is not None:
        same = found.rounds_least == found.rounds_most
        once = " (the whole archive is written once)" if found.rounds_least == 1 and not same else ""
        yield f"Rounds per timed cell: {found.rounds_least}{'' if same else f' to {found.rounds_most}'}{once}."
    for group in found.dropped:
        if group.status != "skipped":
            yield f"{group.samples} samples {group.status} ({words.listed(group.formats)}): {group.reason}."


_LACKING = {
    "untrained": "{} has untrained weights: good for shapes and speed, not for compression ratios.",
    "lossy": "{} was rounded within declared bounds before it was measured (harness inspect has the errors): its sizes "
    "are not those of the original, whatever the format.",
    "incomplete": "{} is incomplete: its layers end before the model's did.",
    "sampled": "Of {} only these layers were written and read: sizes and times of the whole trace are those of its "
    "layers, not of all of it.",
}
"""What a report says of traces that lack something, by what their manifests say."""


def limits(findings: Findings, brought: Brought) -> list[str]:
    """Say what the run does not show: first of cells that are no format's, then of formats and what explains them."""
    others, own = (
        [text for one, found in brought if (one.cells(found) is None) is of for text in one.limits(found, findings)]
        for of in (True, False)
    )
    return own if findings.without_formats else [*own, *_of_formats(findings), *others]


def _of_formats(findings: Findings) -> Iterator[str]:
    config, samples = findings.config, findings.samples
    if config.store:
        yield (
            f"Archives were written to a local disk and read from {config.store.describe()}, each time by a new "
            "client: the figures hold for such a store, which may keep what it has sent before in a cache of its own."
        )
    else:
        yield (
            "One machine, one local disk: nothing here says how a format behaves on object storage or under another "
            "load."
        )
    yield "The answer holds for the uses, traces and lengths that were measured, and up to where it is said to flip."
    if config.store:
        yield (
            "The named uses count warm and cold reads of a local disk, so a run that reads from a store answers none "
            "of them: compare its figures."
        )
    elif "cold" in config.caches:
        yield (
            "Cold means this system's page cache, confirmed to be empty; a host or a disk may still have held the data."
        )
    else:
        yield "Only warm reads were measured: how formats compare when data come from the disk is not known."
    traces = dict.fromkeys(str(trace) for trace in samples["trace"])
    for what, text in _LACKING.items():
        if lacking := [words.pretty_trace(trace) for trace in traces if what in findings.lacks.get(trace, ())]:
            yield text.format(words.listed(lacking))
    largest = samples.loc[rows_where(samples, lambda info: info.one_tensor), "bytes_requested"].max()
    if largest > config.options.whole_bytes:
        yield (
            f"A tensor of more than {words.size(config.options.whole_bytes)} is read by consecutive blocks of rows of "
            f"at most {words.size(config.options.block_bytes)}, in every format alike, and each block is checked."
        )
    if any(trace.startswith("synthetic") for trace in traces):
        yield (
            "The synthetic trace matches measured statistics of real tensors; its layers are drawn independently, so "
            "it says nothing about redundancy between layers."
        )
    yield from warm_limits(findings)
    if findings.growth.empty and config.rounds < VERDICT_ROUNDS and samples["n_res"].nunique() >= LEAST_LENGTHS:
        yield f"How times grow with length is not fitted to fewer than {VERDICT_ROUNDS} rounds."


def warm_limits(findings: Findings) -> Iterator[str]:
    """Say which archives were too large to be in the page cache, alone or beside those of other formats.

    Nothing can be said without the machine's memory or the sizes of archives.
    """
    memory = findings.session.get("memory_limit_bytes") or findings.session.get("memory_bytes")
    if not memory or findings.config.store or "warm" not in findings.config.caches:
        return
    archives = archive_sizes(findings.samples)
    archives = archives[archives["format"] != CONTROL].drop_duplicates(["trace", "n_res", "format", "profile"])
    archives = archives.sort_values("size_bytes", ascending=False)
    large = archives[archives["size_bytes"] > BESIDE_OTHERS * memory]
    larger = large[large["size_bytes"] > memory]
    if len(larger):
        yield f"{words.size(memory)} of memory cannot hold {_named(larger)}: a warm read of much of it is rejected."
    if len(large):
        yield (
            f"{_named(large)} take more than {words.percent(BESIDE_OTHERS)} of {words.size(memory)} of memory each, "
            "and archives of several formats push each other out of it: for an access that asks for little of such a "
            "trace each archive, of any format, is warmed by the same read just before, and warm when that took at "
            f"most {words.percent(1 - WARM_FROM)} of its data from the disk."
        )


def _named(archives: pd.DataFrame) -> str:
    """Name archives by format, length and size."""
    lengths = ["" if pd.isna(n_res) else f" at {int(n_res)} residues" for n_res in archives["n_res"]]
    rows = zip(archives["format"], lengths, archives["size_bytes"], strict=True)
    return words.listed(f"{name}{length} ({words.size(size)})" for name, length, size in rows)
