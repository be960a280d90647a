"""``harness history``: runs are added, steps are shown, and exit codes say what was found."""

from __future__ import annotations

import dataclasses
import json

import pandas as pd
import pytest

from harness.cli import main
from harness.extensions.history.file import append
from harness.extensions.history.record import RunRecord
from tests.conftest import TINY, measured, plain
from tests.extensions.history.made import MACHINE, SAME, ratios, run, sized

pytestmark = pytest.mark.slow


def history(path, values=(), records=()):
    for record in (*ratios(values), *records):
        append(path, record)
    return path


@pytest.fixture
def undrawn(monkeypatch):
    """Drawing takes longer than all else, and has tests of its own."""
    monkeypatch.setattr("harness.extensions.history.command.draw_trends", lambda series, found, folder: [])


def shown(path, capsys, *more):
    code = main(["history", "show", "--file", str(path), "--out", str(path.parent / "out"), *more])
    return code, plain(capsys.readouterr().out)


def test_runs_that_were_measured_are_added_and_shown(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two"):
        measured(tmp_path / name, dataclasses.replace(TINY, formats=("hdf5",), suites=("full_read",)))
        assert main(["history", "add", name]) == 0
    out = plain(capsys.readouterr().out)
    (path,) = (tmp_path / "results" / "history").iterdir()
    assert "Added one (" in out and f"results/history/{path.name}, now 2 runs." in out
    records = [RunRecord.from_line(line) for line in path.read_text().splitlines()]
    assert [r.run_id for r in records] == ["one", "two"] and records[0].definition == records[1].definition
    assert main(["history", "show"]) == 3
    out = plain(capsys.readouterr().out)
    assert "Too few runs: 2 measured the same, 11 are needed" in out and "No step." in out
    assert (tmp_path / "plots" / "history" / path.stem / "trend-full_read.png").stat().st_size > 1000
    assert main(["history", "add", "two"]) == 2


@pytest.mark.usefixtures("undrawn")
def test_a_regression_is_named_with_its_commits_and_gives_exit_code_1(tmp_path, capsys):
    path = history(tmp_path / "h.jsonl", [1.0] * 12 + [1.25] * 6)
    code, out = shown(path, capsys)
    assert code == 1 and "Regression" in out
    assert "hdf5 (tuned): layer_read, one attention head, warm" in out and "000000b..000000c" in out
    assert "x slower" in out
    code = main(["history", "show", "--json", "--file", str(path), "--out", str(tmp_path / "out")])
    found = json.loads(capsys.readouterr().out)
    assert code == 1 and found["enough_runs"] and found["steps"][0]["commits"] == "000000b..000000c"
    assert found["regressions"] and not found["gone"] and len(found["series"][0]["runs"]) == 18
    table = pd.read_csv(tmp_path / "out" / "steps.csv")
    assert table["ratio"].iloc[0] == pytest.approx(1.25, rel=0.02)
    assert shown(path, capsys, "--since", "run13")[0] == 0
    assert shown(path, capsys, "--since", "run05")[0] == 1
    assert shown(path, capsys, "--since", "0000005")[0] == 1


@pytest.mark.usefixtures("undrawn")
def test_no_step_gives_exit_code_0_and_an_improvement_too(tmp_path, capsys):
    code, out = shown(history(tmp_path / "a.jsonl", [1.0] * 14), capsys)
    assert code == 0 and "No step." in out and "No regression." in out
    code, out = shown(history(tmp_path / "b.jsonl", [1.0] * 12 + [0.7] * 6), capsys)
    assert code == 0 and "x faster" in out


@pytest.mark.usefixtures("undrawn")
def test_a_byte_more_is_a_regression_even_with_few_runs(tmp_path, capsys):
    path = history(tmp_path / "h.jsonl", records=[run(i, [sized(100 + i)]) for i in range(2)])
    code, out = shown(path, capsys)
    assert code == 1 and "+1" in out and "100" in out


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("runs", [3, 14])
def test_a_cell_that_the_newest_runs_lack_is_a_regression(runs, tmp_path, capsys):
    whole = ratios([1.0] * runs)
    cut = [dataclasses.replace(r, cells={k: c for k, c in r.cells.items() if k.format != "hdf5"}) for r in whole[-2:]]
    code, out = shown(history(tmp_path / "h.jsonl", records=[*whole[:-2], *cut]), capsys)
    assert code == 1 and f"last was run{runs - 3:02d}" in out and "1 cell failed or was not measured" in out
    assert "Gone: hdf5 (tuned): layer_read, one attention head, warm" in out and "npz" not in out
    assert shown(tmp_path / "h.jsonl", capsys, "--since", f"run{runs - 2:02d}")[0] == (0 if runs > 11 else 3)
    back = [*whole[:-2], cut[0], whole[-1]]
    assert shown(history(tmp_path / "back.jsonl", records=back), capsys)[0] == (0 if runs > 11 else 3)


@pytest.mark.usefixtures("undrawn")
def test_another_series_is_shown_as_such(tmp_path, capsys):
    other = [dataclasses.replace(r, definition=dataclasses.replace(SAME, seed=1)) for r in ratios([2.0] * 20)[14:]]
    code, out = shown(history(tmp_path / "h.jsonl", [1.0] * 14, other), capsys)
    assert code == 3 and "not compared with the one before, because of seed (0, then 1)" in out


@pytest.mark.usefixtures("undrawn")
def test_damaged_lines_are_counted_and_kept(tmp_path, capsys):
    path = history(tmp_path / "h.jsonl", [1.0] * 14)
    path.write_bytes(path.read_bytes() + b'{"torn": ')
    before = path.read_bytes()
    code, out = shown(path, capsys)
    assert code == 0 and "1 line cut or damaged, skipped and kept as it is" in out
    assert path.read_bytes() == before


@pytest.mark.usefixtures("undrawn")
def test_machines_are_never_mixed(tmp_path, capsys):
    one, two = history(tmp_path / "a.jsonl", [1.0] * 2), tmp_path / "b.jsonl"
    append(two, dataclasses.replace(ratios([1.0] * 3)[2], machine=dataclasses.replace(MACHINE, filesystem="xfs")))
    assert main(["history", "show", "--file", str(one), "--file", str(two), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert "filesystem (ext4, then xfs)" in said and len(said.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("undrawn")
def test_bad_input_gets_one_sentence(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.jsonl").write_text("")
    history(tmp_path / "h.jsonl", [1.0] * 2)
    for words, said in (
        (["show"], "'harness history add RUN' begins one"),
        (["show", "--file", "none.jsonl"], "There is no history none.jsonl"),
        (["show", "--file", "empty.jsonl"], "holds no run"),
        (["show", "--file", "h.jsonl", "--since", "never"], "--since names no run"),
        (["add", "none"], "There is no none: name the folder of a run, or a bundle of one."),
    ):
        code = main(["history", *words])
        err = capsys.readouterr().err
        assert code == 2, words
        assert said in err and "Traceback" not in err and len(err.strip().splitlines()) == 1, err
    history(tmp_path / "results" / "history" / "other.jsonl", [1.0])
    assert main(["history", "show"]) == 2
    assert "results/history/other.jsonl" in capsys.readouterr().err
