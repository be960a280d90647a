"""A measurement that a stranger registers is asked for, taken, continued, held against the plan, and missed."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass
from typing import ClassVar

import pandas as pd
import pytest

from harness import registry
from harness.analysis.findings import find
from harness.analysis.report_options import find_options
from harness.cli import main
from harness.records import Row
from harness.row_files import RowFile, done
from harness.run.measurement import Measurement, Measuring, part
from harness.run.recorder import RowLog
from harness.run.turns import cell_keys, turns_of
from harness.workload import ReadAccess

TRACE = "synthetic:layers=1,heads=2,hidden_dim=8,pair_dim=4"
RUN = ["run", "--quiet", "--preset", "quick", "--trace", TRACE, "--sizes", "16", "--formats", "hdf5", "--rounds", "2",
       "--readers", "stock"]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Note(Row):
    """How many reads an access has, of each arm and round."""

    called, file = "a file of notes", "notes.csv"
    figures: ClassVar[tuple[str, ...]] = ("reads",)

    reads: int | None = None
    status: str = "ok"
    reason: str = ""
    cause: str = ""
    attempt: int = 1
    schema_version: int = 1


@dataclass
class Asked:
    """The part of ``run.json``."""

    rounds: int


class NotesOfRun(Measuring):
    """Writes notes."""

    def __init__(self, config):
        self.config, self.rounds = config, part(config, "notes", Asked).rounds

    def begin(self, session):
        path = session.folder / Note.file
        file = session.stack.enter_context(closing(RowFile(path, Note)))
        self.log, self.arms = RowLog(self.config.run_id, Note, file, done(path, Note)), session.arms

    def complete(self, subject):
        reads = [(suite, access) for suite, access in subject.plans if isinstance(access, ReadAccess)]
        return all(self.log.whole(cell_keys(subject, *each, self.arms, "warm"), self.rounds) for each in reads)

    def after(self, subject, prepared, suite, access):
        if not isinstance(access, ReadAccess):
            return
        keys = cell_keys(subject, suite, access, self.arms, "warm")
        self.log.begin(keys, self.rounds)
        (turns,) = (
            each for each in notes.turns(self.config, self.arms, subject) if keys[0] in each.cells[self.arms[0]]
        )
        for (number, arm), position in turns.draw(self.arms).items():
            (key,) = turns.cells[arm]
            if not self.log.has(key, number):
                self.log.add(key, number, position, reads=len(access.reads))


class Notes(Measurement):
    """Asked for by ``--notes``."""

    name = "notes"
    rows = Note

    def add_options(self, add):
        add("--notes", type=int)

    def asked(self, arguments):
        return None if arguments.notes is None else {"rounds": arguments.notes}

    def options(self, config):
        return [f"--notes {part(config, self.name, Asked).rounds}"] if self.name in config.measurements else []

    def open(self, config):
        return NotesOfRun(config) if self.name in config.measurements else None

    def turns(self, config, arms, subject):
        for suite, access in subject.plans if self.name in config.measurements else ():
            if isinstance(access, ReadAccess):
                rounds = part(config, self.name, Asked).rounds
                yield turns_of(config, subject, suite, access, arms, "warm", rounds, self.name)


notes = Notes()


@pytest.fixture
def registered(monkeypatch):
    names, load = registry.names, registry.load
    patched = lambda group: [*names(group), "notes"] if group == "measurements" else names(group)  # noqa: E731
    with monkeypatch.context() as patch:
        patch.setattr(registry, "names", patched)
        patch.setattr(registry, "load", lambda group, name: notes if name == "notes" else load(group, name))
        yield patch


@pytest.mark.slow
def test_a_strangers_measurement_takes_part_in_a_run_and_in_its_evidence(registered, sketched, tmp_path, capsys):
    run = tmp_path / "run"
    assert main([*RUN, "--suites", "layer_read", "--notes", "3", "--out", str(run)]) == 0
    assert json.loads((run / "run.json").read_text())["measurements"] == {"notes": {"rounds": 3}}
    rows = pd.read_csv(run / "notes.csv")
    assert len(rows) == 2 * 3 * 3 and set(rows["format"]) == {"hdf5", "raw"}
    assert find(run, find_options(run)).incomplete == ()
    assert "--notes 3" in (run / "report.md").read_text()
    assert main(["run", "--resume", "--notes", "3", "--out", str(run)]) == 2
    assert "leave out --notes" in capsys.readouterr().err
    rows.iloc[:-1].to_csv(run / "notes.csv", index=False)  # as a run that was killed
    assert any(line.startswith("notes.csv: 1 of 18 rows") for line in find(run, find_options(run)).incomplete)
    assert main(["run", "--resume", "--quiet", "--out", str(run)]) == 0
    assert find(run, find_options(run)).incomplete == ()
    registered.undo()
    assert any("measured notes, which no installed" in line for line in find(run, find_options(run)).incomplete)
    assert main(["run", "--resume", "--quiet", "--out", str(run)]) == 2
    assert "asks for notes, which no installed extension brings" in capsys.readouterr().err


def test_a_part_that_does_not_fit_is_refused_by_name(registered, sketched, tmp_path, capsys):
    run = tmp_path / "run"
    assert main([*RUN, "--suites", "size", "--notes", "1", "--out", str(run)]) == 0
    document = json.loads((run / "run.json").read_text())
    document["measurements"]["notes"]["rounds"] = "many"
    (run / "run.json").write_text(json.dumps(document))
    assert main(["run", "--resume", "--quiet", "--out", str(run)]) == 2
    assert "notes in run.json of run: at $.rounds expected int" in capsys.readouterr().err
