"""The report's section on several workers: how far each format scales, and what was seen where it does not."""

from __future__ import annotations

from typing import Any

import pandas as pd

from harness.analysis import formatting as words
from harness.analysis.findings import Findings
from harness.extensions.breakdown.plot import main_subject
from harness.records import CONTROL, RAW

_MOST = 0.5  # share from which on a lock or one thread is named as what readers wait for
_SCALES = 0.75  # efficiency from which on there is nothing to explain

_COLUMNS = [
    "Workers", "Format", "Time", "Speed against one worker", "Efficiency", "Of the raw ceiling's speed",
    "Half of the reads within", "95 % within", "99 % within", "Cores at work",
]  # fmt: skip


def scaling(findings: Findings) -> dict[str, Any] | None:
    """Arrange the section; None for a run without samples by several workers."""
    if findings.scaling is None or findings.scaling.empty:
        return None
    trace, n_res, shown = shown_cells(findings.scaling)
    length = "" if pd.isna(n_res) else f" with {n_res:.0f} residues"
    cores = findings.session.get("cores_usable") or findings.session.get("cores")
    text = [
        f"On {words.pretty_trace(trace)}{length}: the same windows in all, split evenly over the workers, which start "
        "together. Every read is timed by its worker; percentiles are medians over rounds. Cores at work are seconds "
        "of processor time of all threads in a second of reading."
    ]
    if cores and (many := sorted({int(n) for n in shown["workers"] if n > cores})):
        text.append(
            f"The machine had {cores} cores to use: {words.listed([str(n) for n in many])} workers share them, and "
            f"cannot be more than {cores} times as fast as one, except where one alone waits."
        )
    if free := free_threaded(shown):
        text.append(free)
    rows = [
        [
            words.workers(row), str(row["format"]), words.duration(row["median_seconds"]), _speed(row),
            _percent(row["efficiency"]), _percent(row["raw_fraction"]) if row["format"] != RAW else "–",
            *(words.duration(row[name]) for name in ("latency_p50_seconds", "latency_p95_seconds")),
            words.duration(row["latency_p99_seconds"]), f"{row['cpu_per_second']:.2f}",
        ]
        for row in shown.to_dict("records")
    ]  # fmt: skip
    return {"text": text, "waits": waits(shown, cores), "columns": _COLUMNS, "rows": rows}


def shown_cells(cells: pd.DataFrame) -> tuple[str, float, pd.DataFrame]:
    """Choose the cells to show: of the trace and length with most accesses, without the blind twin."""
    trace, n_res = main_subject(cells)
    here = (cells["trace"] == trace) & (cells["n_res"].isna() if pd.isna(n_res) else cells["n_res"] == n_res)
    shown = cells[here & (cells["format"] != CONTROL)]
    order = {name: place for place, name in enumerate(words.ordered(shown["format"].astype(str)))}
    places = shown.assign(place=shown["format"].map(order))
    places["kind"] = places["executor"].map({name: place for place, name in enumerate(places["executor"].unique())})
    return trace, n_res, shown.loc[places.sort_values(["access", "kind", "workers", "place"], kind="stable").index]


def free_threaded(cells: pd.DataFrame) -> str:
    """Say that threads were looked at without the interpreter's lock; empty where they were not."""
    off = cells.loc[cells["interpreter_lock"].notna(), "interpreter_lock"].astype(bool).eq(False)
    if not off.any():
        return ""
    return (
        "The interpreter's lock was off while threads were looked at, as free-threaded Python has it: threads take "
        "turns only where a library has a lock of its own, as h5py has."
    )


def waits(cells: pd.DataFrame, cores: int | None) -> list[str]:
    """Say of each format whose threads were looked at what was seen, and what follows where they do not scale."""
    said = []
    looked = cells[cells["contention_cpu_per_second"].notna() & (cells["format"] != RAW)]
    for row in looked.to_dict("records"):
        most = min(int(row["workers"]), cores or int(row["workers"]))
        arm = str(row["format"])
        speed = f"{arm}: {int(row['workers'])} threads are {_speed(row)} as fast as one"
        if words.known(row["speedup"]) and row["speedup_low"] >= _SCALES * most:
            said.append(f"{speed}, of {most} that the cores allow: they scale.")
        elif words.known(row["speedup"]) and row["speedup_high"] >= _SCALES * most:
            said.append(f"{speed}: too uncertain to say whether they scale. {_why(row)}{_processes(cells, row)}")
        else:
            said.append(f"{speed}: they do not scale. {_why(row)}{_processes(cells, row)}")
    return said


def _why(row: dict[Any, Any]) -> str:
    """Say what was seen that keeps readers from working at once, whether or not it shows in their speed."""
    seen = []
    if row["lock"] and words.known(row["lock_held_share"]):
        held = f"{row['lock']} was held in {words.percent(row['lock_held_share'])} of the moments it was looked at"
        follows = ", so that reads take turns" if row["lock_held_share"] >= _MOST else ""
        seen.append(held + follows)
    if row["busiest_thread"] and row["busiest_thread_share"] >= _MOST:
        share = row["busiest_thread_share"]
        seen.append(
            f"one thread that is no reader, {row['busiest_thread']}, did {words.percent(share)} of all the work, so "
            f"that no number of readers can be more than {1 / share:.1f} times as fast"
        )
    named = bool(row["lock"] and row["lock_held_share"] >= _MOST) or bool(seen and row["busiest_thread_share"] >= _MOST)
    if not named:
        lock = (
            "What is left is the interpreter's lock, which was on, and the sharing of cores"
            if row["interpreter_lock"]
            else "The interpreter's lock was off, so what is left is the sharing of cores and memory"
        )
        seen.append(f"no lock of its library and no single thread was seen to be busy most of the time. {lock}")
    seen.append(f"{row['contention_cpu_per_second']:.2f} cores were at work")
    text = "; ".join(seen) + "."
    return text[0].upper() + text[1:]


def _processes(cells: pd.DataFrame, row: dict[Any, Any]) -> str:
    same = (cells["format"] == row["format"]) & (cells["profile"] == row["profile"])
    apart = cells[same & (cells["access"] == row["access"]) & (cells["executor"] == "processes")]
    apart = apart[(apart["workers"] > 1) & apart["speedup"].notna()]
    if apart.empty:
        return ""
    best = apart.loc[apart["speedup"].idxmax()].to_dict()
    return f" Processes, which share neither: {int(best['workers'])} are {_speed(best)} as fast as one."


def _speed(row: dict[Any, Any]) -> str:
    if not words.known(row["speedup"]):
        return "–"
    if row["speedup_low"] == row["speedup_high"]:
        return words.times(row["speedup"])
    return f"{words.times(row['speedup'])} ({words.between(row['speedup_low'], row['speedup_high'])})"


def _percent(share: float) -> str:
    return words.percent(share) if words.known(share) else "–"
