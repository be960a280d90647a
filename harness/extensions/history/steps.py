"""Steps of a history: the cell, the commits around the step, its size, and other changes at the same place."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

import harness
from harness.analysis import formatting
from harness.analysis.verdict import EQUIVALENT_WITHIN
from harness.extensions.history.changepoint import SIDE, find_changes, shared
from harness.extensions.history.record import EXACT, RunRecord
from harness.extensions.history.series import Series
from harness.records import CellKey

SECONDS = "median_seconds"
MACHINE = "machine"
FIGURES = {
    SECONDS: "time", MACHINE: "machine", "size_bytes": "bytes", "files": "files", "files_opened": "files opened",
    "requests": "requests",
}  # fmt: skip
_BUSIER = 0.5  # smallest change of the load average that is reported


@dataclass(frozen=True, kw_only=True)
class Step:
    """A level that changed and stayed, or an exact figure that changed."""

    key: CellKey | None  # The cell; None for the machine, measured by the raw ceiling of all places.
    figure: str  # ``median_seconds``, ``machine``, or one of `harness.extensions.history.record.EXACT`.
    place: int  # Index of the first run after it, in its series.
    # The last run before the step and the first run after it that have the figure.
    before: RunRecord
    after: RunRecord
    # Medians of the two levels. Of a cell: seconds corrected for the machine's changes. Of the machine: its time
    # relative to the usual one. Of exact figures: the figures themselves.
    level_before: float
    level_after: float
    series: str = "exact figure"  # In words, the series in which the step was found.
    # For a step in a time: median load average of the machine in the nearest runs on either side.
    load_before: float | None = None
    load_after: float | None = None

    @property
    def ratio(self) -> float:
        """The new level divided by the old one; infinite from zero."""
        return self.level_after / self.level_before if self.level_before else np.inf

    @property
    def regression(self) -> bool:
        """Whether the step is for the worse: slower, larger, more; False for a step of the machine."""
        return self.key is not None and self.level_after > self.level_before

    @property
    def case(self) -> str:
        """The cell in words, or the machine itself."""
        return "the machine itself" if self.key is None else cell_name(self.key)

    @property
    def change(self) -> str:
        """The change in words: a ratio of times, or a difference of exact figures."""
        if self.figure in (SECONDS, MACHINE):
            return f"{formatting.times(self.ratio)} {'slower' if self.ratio > 1 else 'faster'}".replace("×", " x")
        return f"{self.level_after - self.level_before:+,.0f}"

    def level(self, value: float) -> str:
        """Return a level as text with its unit."""
        if self.figure == SECONDS:
            return formatting.duration(value)
        return f"{value:.2f}" if self.figure == MACHINE else f"{value:,.0f}"

    def commits(self, repository: Path = Path(harness.__file__).parent.parent) -> str:
        """Return the range of commits that may have caused the step, such as ``abc1234..def5678 (3 commits)``.

        Parameters
        ----------
        repository : Path
            A git repository in which to count the commits; by default the checkout that this library runs from.
        """
        before, after = self.before, self.after
        if before.commit is None or after.commit is None:
            return f"{before.run_id}..{after.run_id} (no commits recorded)"
        if before.commit == after.commit:
            dirty = " with uncommitted changes" if before.dirty or after.dirty else ""
            return f"{after.commit[:7]} both times{dirty}"
        command = ["git", "-C", str(repository), "rev-list", "--count", f"{before.commit}..{after.commit}", "--"]
        try:
            count = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        except (OSError, subprocess.CalledProcessError):  # git is missing, or the repository lacks a commit
            return f"{before.label}..{after.label}"
        return f"{before.label}..{after.label} ({count} commit{'' if count == 1 else 's'})"

    @property
    def meanwhile(self) -> list[str]:
        """Other changes at the step: load average, and library versions such as ``zarr 3.1.6 to 3.4.2``."""
        old, new = self.before.libraries, self.after.libraries
        one, other = self.load_before, self.load_after
        busy = []
        if one is not None and other is not None and abs(other - one) > _BUSIER:
            busy = [f"load average {one:.1f} to {other:.1f}"]
        return busy + [
            f"{name} {old.get(name) or 'none'} to {new.get(name) or 'none'}"
            for name in sorted(old.keys() | new.keys())
            if old.get(name) != new.get(name)
        ]


def cell_name(key: CellKey) -> str:
    """Return a readable name of a cell."""
    length = "" if key.n_res is None else f" {key.n_res}"
    trace = f"{formatting.pretty_trace(key.trace)}{length}"
    return f"{contender_name(key)}: {key.suite}, {formatting.case(key._asdict())}; {trace}"


def contender_name(key: CellKey) -> str:
    """Return the format of a cell, with its profile if it has one."""
    return f"{key.format} ({key.profile})" if key.profile else key.format


def find_steps(series: Series) -> list[Step]:
    """Find every step of a series, in the order of runs.

    Times are corrected for changes of the machine. The deviation of the raw ceiling is subtracted from the logarithm of
    each median, multiplied by the share that the cell follows from run to run (`changepoint.shared`). The raw ceiling
    is either that of the same reads, measured in the same minute, or that of all reads, which has less noise of its
    own. The one that leaves less change from run to run is used; no correction is used if it leaves least.
    The measured time and its ratio to the raw ceiling of all reads are the witnesses. A step of which one of them shows
    less than half is the machine's, not the cell's.

    Parameters
    ----------
    series : Series
        From `harness.extensions.history.series.arrange`.

    Returns
    -------
    list of Step
        For times, the steps that chance over all cells together does not explain and that exceed the equivalence
        margin of verdicts. For exact figures, every change.
    """
    return sorted([*_exact(series), *_timed(series)], key=lambda step: step.place)


def _timed(series: Series) -> Iterator[Step]:
    keys = [key for key in series.claims if not np.isnan(series.figures(key, SECONDS)).all()]
    logs, machine = series.logs(keys), series.machine
    followed = [_without_machine(row, series, key) for row, key in zip(logs, keys, strict=True)]
    values = np.vstack([*(row for row, _ in followed), machine])
    witnesses = [np.vstack([logs, machine]), np.vstack([logs - machine, machine])]
    for row, changes in enumerate(find_changes(values, witnesses, float(np.log(1 + EQUIVALENT_WITHIN)))):
        own = row < len(keys)
        ends = [0, *(change.place for change in changes), len(series.records)]
        levels = [float(np.nanmedian(values[row, a:b])) for a, b in pairwise(ends)]
        for change, before, after in zip(changes, levels[:-1], levels[1:], strict=True):
            last = int(np.flatnonzero(~np.isnan(values[row, : change.place]))[-1])
            yield Step(
                key=keys[row] if own else None,
                figure=SECONDS if own else MACHINE,
                place=change.place,
                before=series.records[last],
                after=series.records[change.place],
                level_before=float(np.exp(before)),
                level_after=float(np.exp(after)),
                series=followed[row][1] if own else "raw ceiling, median of all reads",
                load_before=_load(series.records[max(0, change.place - SIDE) : change.place]),
                load_after=_load(series.records[change.place : change.place + SIDE]),
            )


def _load(records: Sequence[RunRecord]) -> float | None:
    known = [record.load_average for record in records if record.load_average is not None]
    return float(np.median(known)) if known else None


def _without_machine(logs: np.ndarray, series: Series, key: CellKey) -> tuple[np.ndarray, str]:
    """Return the logarithms of a cell's times, corrected for the machine, and the correction in words."""
    good = ~np.isnan(logs)
    found = [(logs, "time")]
    for name, machine in (("the same reads", series.ceiling(key)), ("all reads", series.machine)):
        share = shared(logs[good], machine[good]) if not np.isnan(machine[good]).any() else 0.0
        if share:
            rest = logs - share * np.nan_to_num(machine)
            found.append((rest, f"time less {share:.1f} of the raw ceiling of {name}"))
    return min(found, key=lambda one: float(np.abs(np.diff(one[0][good])).sum()))


def _exact(series: Series) -> Iterator[Step]:
    keys = series.claims
    # The suite `size` reports the size of an archive; the same size in other suites would only repeat it.
    sized = {key for key in keys if key.suite == "size"}
    for name in EXACT:
        for key in keys:
            if name in ("size_bytes", "files") and sized and key not in sized:
                continue
            values = series.figures(key, name)
            known = np.flatnonzero(~np.isnan(values))
            for last, place in pairwise(known):
                if values[last] != values[place]:
                    yield Step(
                        key=key,
                        figure=name,
                        place=int(place),
                        before=series.records[last],
                        after=series.records[place],
                        level_before=float(values[last]),
                        level_after=float(values[place]),
                    )


def regressions(steps: Sequence[Step]) -> list[Step]:
    """Return the newest step of each figure of each cell, if it is a regression."""
    newest = {(step.key, step.figure): step for step in steps}
    return [step for step in newest.values() if step.regression]
