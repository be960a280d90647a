"""The commands ``history add`` and ``history show``: runs of one kind of machine over time, and the steps in them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pandas as pd

from harness.analysis import formatting
from harness.analysis.plain_values import plain
from harness.cli import terminal
from harness.cli.options import add_output, add_plugins
from harness.cli.parser import examples
from harness.errors import UsageError
from harness.extensions.history.changepoint import LEAST_RUNS
from harness.extensions.history.file import append, read_history
from harness.extensions.history.record import Followed, kind_of
from harness.extensions.history.run_summary import summarise_run
from harness.extensions.history.series import Series, arrange, vanished
from harness.extensions.history.steps import FIGURES, Step, cell_name, find_steps, regressions
from harness.extensions.history.trends import draw_trends
from harness.records import CellKey
from harness.report.write import write_table
from harness.run.machine import describe

FOLDER = Path("results") / "history"
SUFFIX = ".jsonl"
NO_STEP, REGRESSION, TOO_FEW = 0, 1, 3
_MOST = 24  # steps printed
_COLUMNS = [
    "series", *CellKey._fields, "figure", "level_before", "level_after", "ratio", "regression", "run_before",
    "run_after", "commit_before", "commit_after", "commits", "found_in", "meanwhile",
]  # fmt: skip


def add_history(parser: argparse.ArgumentParser) -> None:
    """Follow runs over time, and find where something became slower."""
    adding = "history add results/first"
    showing = "history show --since first --out trends"
    parser.epilog = examples(adding, showing)
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    parser = actions.add_parser(
        "add",
        help="add a run to the history of its kind of machine",
        description=f"Append a summary of a run to {FOLDER}/<kind of machine>{SUFFIX}.",
        epilog=examples(adding, "history add first.bundle.zip --file machine.jsonl"),
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="a run's folder, or a bundle")
    parser.add_argument("--file", type=Path, metavar="FILE", help="the history (default: by the run's kind of machine)")
    add_plugins(parser)
    parser.set_defaults(command=_add)
    parser = actions.add_parser(
        "show",
        help="list the steps, name the commits they come from, draw the trends",
        description="List the steps of a history and draw every cell's trend. Exit code: 0 no regression, 1 where the "
        "newest step of a cell is one or the newest run lacks a cell of earlier ones, 2 for bad input, 3 where fewer "
        f"than {LEAST_RUNS} runs measured the same.",
        epilog=examples("history show", showing),
    )
    parser.add_argument(
        "--file", action="append", type=Path, metavar="FILE",
        help="a history; repeatable, for files of one kind of machine (default: that of this machine)",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the drawings and of steps.csv "
        "(default: plots beside the history)")  # fmt: skip
    parser.add_argument(
        "--since", metavar="RUN", help="count only steps after this run, by its name or its commit (default: all)"
    )
    add_output(parser, json=True)
    parser.set_defaults(command=_show)


def _add(arguments: argparse.Namespace) -> int:
    record = summarise_run(arguments.run)
    path: Path = arguments.file or FOLDER / f"{record.machine.name}{SUFFIX}"
    history = append(path, record)
    now = f"now {_many(len(history.records), 'run')}"
    terminal.say(f"Added {record.run_id} ({record.label}, {len(record.cells)} cells) to {path}, {now}.")
    _say_corrupt(len(history.corrupt), path)
    return 0


def _show(arguments: argparse.Namespace) -> int:
    paths: list[Path] = arguments.file or [_of_this_machine()]
    history = read_history(*paths)
    if not arguments.json:
        _say_corrupt(len(history.corrupt), *paths)
    if not history.records:
        raise UsageError(f"{formatting.listed(map(str, paths))} holds no run: add one with 'harness history add RUN'.")
    series = arrange(history.records)
    found = [find_steps(part) for part in series]
    out: Path = arguments.out or _drawings(paths[0])
    outcome = _Outcome.of(series[-1], found[-1], arguments.since)
    if not arguments.json:
        _print(series, found)
    out.mkdir(parents=True, exist_ok=True)
    steps = step_table(found)
    write_table(steps, out / "steps.csv")
    with terminal.busy("drawing the trends", quiet=arguments.json):
        drawn = draw_trends(series, found, out)
    if arguments.json:
        terminal.result({
            "machine": series[-1].records[-1].machine.name,
            "lines_skipped": len(history.corrupt),
            "series": [{"runs": [r.run_id for r in part.records], "changed": part.changed} for part in series],
            "steps": plain(steps),
            "gone": [{**key._asdict(), "last_run": run} for key, run in outcome.gone],
            "regressions": [step.case for step in outcome.worse],
            "enough_runs": not outcome.few,
        })  # fmt: skip
        return outcome.code
    terminal.say(f"Steps:  {out / 'steps.csv'}")
    terminal.say(f"Trends: {', '.join(str(path) for path in drawn if path.suffix == '.png')}")
    outcome.say()
    return outcome.code


def _of_this_machine() -> Path:
    path = FOLDER / f"{kind_of(cast(Followed, describe(Path.cwd()))).name}{SUFFIX}"
    if not path.exists() and (others := sorted(str(found) for found in FOLDER.glob(f"*{SUFFIX}"))):
        raise UsageError(f"There is no history of this machine, {path}; name another with --file: {', '.join(others)}.")
    return path


def _drawings(path: Path) -> Path:
    """Return the drawings' folder, named by the file.

    It is in ``plots/history`` for a file in ``results/history``, else in ``plots`` next to the file.
    """
    resolved = path.resolve()
    if resolved.parts[-3:-1] == FOLDER.parts:
        return resolved.parents[2] / "plots" / FOLDER.name / resolved.stem
    return path.parent / "plots" / path.stem


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'s'[: count > 1]}"


def _say_corrupt(count: int, *paths: Path) -> None:
    if count:
        kept = "they are" if count > 1 else "it is"
        where = formatting.listed(map(str, paths))
        terminal.say(f"{where}: {_many(count, 'line')} cut or damaged, skipped and kept as {kept}.")


def step_table(found: Sequence[Sequence[Step]]) -> pd.DataFrame:
    """Return one row per step, oldest first: the key columns of ``summary.csv``, levels in seconds or as counts.

    Parameters
    ----------
    found : sequence of sequence of Step
        The steps of each series.
    """
    rows = [
        {
            **(step.key._asdict() if step.key is not None else {}),
            **{name: getattr(step, name) for name in ("level_before", "level_after", "ratio", "regression")},
            "series": number,
            "figure": FIGURES[step.figure],
            "run_before": step.before.run_id,
            "run_after": step.after.run_id,
            "commit_before": step.before.commit,
            "commit_after": step.after.commit,
            "commits": step.commits(),
            "found_in": step.series,
            "meanwhile": ", ".join(step.meanwhile),
        }
        for number, steps in enumerate(found, 1)
        for step in steps
    ]
    return pd.DataFrame(rows, columns=_COLUMNS)


def _print(series: Sequence[Series], found: Sequence[Sequence[Step]]) -> None:
    newest = series[-1].records[-1]
    terminal.say(f"{newest.machine.name}: {sum(len(part.records) for part in series)} runs, {len(series)} series")
    for number, (part, steps) in enumerate(zip(series, found, strict=True), 1):
        runs = part.records
        title = f"Series {number}: {_many(len(runs), 'run')}, {runs[0].label} to {runs[-1].label}"
        if part.changed:
            title += f"; not compared with the one before, because of {part.changed}"
        terminal.say(title)
        if len(runs) < LEAST_RUNS:
            terminal.say(
                f"  Too few runs for a step in times: {len(runs)} of {LEAST_RUNS}. Exact figures are followed."
            )
        if not steps:
            terminal.say("  No step.")
            continue
        shown = terminal.table("", "case", "figure", "from", "to", "change", "commits", "found in", "meanwhile")
        for step in list(reversed(steps))[:_MOST]:
            shown.add_row(
                step.case, FIGURES[step.figure], step.level(step.level_before), step.level(step.level_after),
                step.change, step.commits(), step.series, ", ".join(step.meanwhile),
            )  # fmt: skip
        terminal.console().print(shown, markup=False)
        if len(steps) > _MOST:
            terminal.say(f"and {len(steps) - _MOST} older ones, in steps.csv")


@dataclass(frozen=True)
class _Outcome:
    """Outcome of the newest series: vanished cells with the last run that has them, regressions, number of runs."""

    gone: list[tuple[CellKey, str]]
    worse: list[Step]
    runs: int

    @classmethod
    def of(cls, newest: Series, steps: Sequence[Step], since: str | None) -> _Outcome:
        first = 0 if since is None else _number(newest, since) + 1
        gone = [(key, newest.records[last].run_id) for key, last in vanished(newest) if last + 1 >= first]
        return cls(gone, [step for step in regressions(steps) if step.place >= first], len(newest.records))

    @property
    def few(self) -> bool:
        return self.runs < LEAST_RUNS

    @property
    def code(self) -> int:
        if self.gone or self.worse:
            return REGRESSION
        return TOO_FEW if self.few else NO_STEP

    def say(self) -> None:
        for key, run in self.gone[:_MOST]:
            terminal.say(f"Gone: {cell_name(key)}: the newest run has no good measurement of it, last was {run}.")
        if len(self.gone) > _MOST:
            terminal.say(f"and {len(self.gone) - _MOST} more")
        if self.gone:
            were = "were" if len(self.gone) > 1 else "was"
            terminal.say(
                f"Regression: {_many(len(self.gone), 'cell')} failed or {were} not measured in the newest run."
            )
        if self.worse:
            many = _many(len(self.worse), "figure")
            terminal.say(f"Regression: the newest step of {many} is for the worse, first of all {self.worse[0].case}.")
        if self.code == TOO_FEW:
            terminal.say(f"Too few runs: {self.runs} measured the same, {LEAST_RUNS} are needed to find a step.")
        elif self.code == NO_STEP:
            terminal.say("No regression.")


def _number(series: Series, name: str) -> int:
    """Return the index of the last run with this name, or with a commit that starts with it.

    Raises
    ------
    UsageError
        If no run matches.
    """
    runs = series.records
    fits = [i for i, run in enumerate(runs) if run.run_id == name or (run.commit or "").startswith(name)]
    if not fits or not name:
        raise UsageError(f"--since names no run of the newest series; it has {', '.join(run.run_id for run in runs)}.")
    return fits[-1]
