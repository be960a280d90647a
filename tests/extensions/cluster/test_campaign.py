"""Tasks that end, die, die again and are refused: what counts, what is recorded, and what is merged."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest

from harness.analysis.findings import find
from harness.analysis.report_options import find_options
from harness.errors import HarnessError
from harness.evidence.bundle import read_bundle, write_bundle
from harness.evidence.check import check
from harness.extensions.cluster import task
from harness.extensions.cluster.campaign import blocks_of
from harness.extensions.cluster.document import notes, read_cluster
from harness.extensions.cluster.merge import MergedPart, merge, problems
from harness.report.write import write_report
from harness.row_files import read_samples
from harness.run.config import RunConfig
from harness.run.machine import read_environment
from harness.run.plan import read_plan
from harness.run.planned_run import PlannedRun
from harness.sampling import cache
from tests.extensions.cluster.made import CONFIG, Here, measured

pytestmark = pytest.mark.slow


@pytest.fixture
def copied(run_copied: Path) -> tuple[Path, list[MergedPart]]:
    """A merged run, with the parts that it was merged of."""
    found = blocks_of(PlannedRun.of(_config(run_copied)), run_copied)
    return run_copied, [
        MergedPart(block=block, folder=block.folder / "1", host=f"node{number}") for number, block in enumerate(found)
    ]


def _config(folder: Path) -> RunConfig:
    return dataclasses.replace(CONFIG, run_id=folder.name)


def _checked(folder: Path, scratch: Path) -> list[str]:
    write_report(folder, find_options(folder))
    write_bundle(folder, scratch / "b.bundle.zip")
    results = check(read_bundle(scratch / "b.bundle.zip"), scratch)
    return [text for result in results for text in result.problems]


def test_a_merged_run_is_one_that_check_accepts_and_so_is_each_of_its_blocks(copied, sketched, tmp_path):
    folder, parts = copied
    assert _checked(folder, tmp_path) == []
    rows = read_samples(folder / "samples.csv")
    assert (
        set(rows["n_res"]) == {24, 40} and set(rows["run_id"]) == {"run"} and set(rows["status"]) <= {"ok", "skipped"}
    )
    assert [plan["n_res"] for plan in read_plan(folder / "plan.json")] == [24, 40]
    assert len(read_environment(folder / "environment.json")["sessions"]) == 2
    own = [len(read_samples(part.folder / "samples.csv")) for part in parts]
    assert sum(own) == len(rows)
    (tmp_path / "own").mkdir()
    assert _checked(parts[0].folder, tmp_path / "own") == []
    assert not list(folder.glob("tasks/*/archives"))
    assert "## Nodes of the run" in (folder / "report.md").read_text()


def test_the_document_says_where_each_block_was_written_and_measured(merged, blocks):
    first, second = blocks
    document = read_cluster(merged)
    assert [(t["block"], t["part"], t["attempt"], t["problem"]) for t in document["tasks"]] == [
        (first, "write", 1, ""), (first, "measure", 1, ""), (second, "write", 1, ""), (second, "measure", 1, ""),
    ]  # fmt: skip
    assert all(t["node"]["host"] and t["node"]["filesystem"] for t in document["tasks"])
    assert document["tasks"][0]["files"] >= 2 and document["tasks"][0]["archive_bytes"] > 0
    said = " ".join(notes(document))
    assert "2 of 2 blocks were read on the node that wrote their archives" in said
    assert "Budget of files: 1000" in said and "The memory of 1 host that read them" in said


def test_a_task_that_dies_is_run_again_from_its_beginning_and_in_a_folder_of_its_own(tmp_path, blocks):
    first, second = blocks
    jobs = Here([f"{first}-write", f"{first}-measure"])
    parts, document = measured(tmp_path / "run", jobs)
    assert jobs.started == [
        f"{first}-write", f"{first}-write", f"{first}-measure", f"{first}-measure", f"{second}-write",
        f"{second}-measure",
    ]  # fmt: skip
    places = [given[1] for name, given in zip(jobs.started, jobs.given, strict=True) if name.endswith("-write")]
    assert len({str(place) for place in places}) == 3, "a task that was given up may still write where it began"
    assert [part.folder.name for part in parts] == ["2", "1"]
    said = notes(document)
    assert sum("does not count: the task ended without an answer (state NODE_FAIL)" in note for note in said) == 2
    assert set(read_samples(tmp_path / "run" / "samples.csv")["status"]) <= {"ok", "skipped"}


def test_a_block_whose_task_dies_twice_has_failed_cells_and_is_measured_when_the_run_is_resumed(tmp_path, blocks):
    folder, (_, second) = tmp_path / "run", blocks
    parts, _ = measured(folder, Here([f"{second}-measure"] * 2))
    rows = read_samples(folder / "samples.csv")
    lost = rows[rows["n_res"] == 40]
    assert parts[1].host == "" and set(lost["status"]) <= {"failed", "skipped"}
    failed = lost[lost["status"] == "failed"]
    assert set(failed["cause"]) == {"machine"} and failed["reason"].str.contains("state NODE_FAIL").all()
    assert set(rows.loc[rows["n_res"] == 24, "status"]) <= {"ok", "skipped"}
    assert len(read_environment(folder / "environment.json")["sessions"]) == 1
    jobs = Here()
    parts, _ = measured(folder, jobs)
    assert jobs.started == [f"{second}-write", f"{second}-measure"] and parts[1].folder.name == "3"
    assert set(read_samples(folder / "samples.csv")["status"]) <= {"ok", "skipped"}


def test_archives_beyond_the_budget_of_files_are_not_measured(tmp_path):
    jobs = Here()
    measured(tmp_path / "run", jobs, files_budget=1)
    assert not [name for name in jobs.started if name.endswith("measure")]
    rows = read_samples(tmp_path / "run" / "samples.csv")
    assert rows["reason"].str.contains("more than the budget of 1 leaves").any()


def test_what_is_read_apart_excludes_the_node_that_wrote_and_refuses_to_run_there(tmp_path, blocks):
    jobs = Here()
    measured(tmp_path / "run", jobs, apart=True)
    writer = jobs.excluded[jobs.started.index(f"{blocks[0]}-measure")]
    assert writer and jobs.excluded[0] == ""
    problem = read_cluster(tmp_path / "run")["tasks"][1]["problem"]
    assert problem == f"it was started on {writer}, which wrote the archives that it has to read"


def test_a_task_that_the_scheduler_starts_again_does_not_mix_two_beginnings(tmp_path, monkeypatch):
    folder, begun = tmp_path / "run", []

    def requeued(*arguments):
        if not begun:
            begun.append(arguments[0])
            task.measure(*arguments)  # it was nearly done, and is started again
        return task.measure(*arguments)

    monkeypatch.setattr("harness.extensions.cluster.campaign.measure", requeued)
    parts, document = measured(folder, Here())
    assert "it was begun before and did not end" in document["tasks"][1]["problem"]
    assert parts[0].folder.name == "2"


def _rewrite(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def test_what_is_read_apart_has_the_node_of_each_block(tmp_path, blocks, sketched):
    first, second = blocks
    nodes = {f"{first}-write": "a", f"{first}-measure": "b", f"{second}-write": "b", f"{second}-measure": "c"}
    jobs, folder = Here(nodes=nodes), tmp_path / "run"
    parts, document = measured(folder, jobs, apart=True)
    assert jobs.excluded == ["", "a", "", "b"] and [part.host for part in parts] == ["b", "c"]
    assert "Every archive was read on another node than the one that wrote it." in notes(document)
    assert [s["node"] for s in read_environment(folder / "environment.json")["sessions"]] == ["b", "c"]
    assert _checked(folder, tmp_path) == []
    assert "were measured on 2 nodes with a shared filesystem; growth" in (folder / "report.md").read_text()


def test_lukewarm_samples_are_evicted_and_merged_and_have_no_grade(tmp_path, sketched):
    if cache.filesystem(tmp_path) in ("tmpfs", "ramfs"):
        pytest.skip("the temporary folder is in memory, where nothing can be evicted")
    folder = tmp_path / "run"
    measured(folder, Here(), dataclasses.replace(CONFIG, sizes=(24,), caches=("warm", "lukewarm")), lukewarm=True)
    rows = read_samples(folder / "samples.csv")
    found = rows[rows["cache"] == "lukewarm"]
    assert len(found) == (rows["cache"] == "warm").sum() > 0
    assert set(found["status"]) <= {"ok", "skipped"} and found["resident_fraction"].max() < cache.COLD_BELOW
    assert _checked(folder, tmp_path) == []
    findings = find(folder, find_options(folder))
    assert "lukewarm" in set(findings.summary["cache"]) and "lukewarm" not in set(findings.grades.cells["cache"])
    assert "Lukewarm reads found nothing in the page cache" in (folder / "report.md").read_text()


def test_an_attempt_that_is_damaged_is_measured_again_and_what_a_killed_task_left_is_removed(copied, blocks):
    folder, parts = copied
    (parts[0].folder / "plan.json").write_text("{")
    (parts[0].block.folder / "²").mkdir()
    left = parts[0].folder / ".archives"
    left.mkdir()
    (left / "trace.raw").write_bytes(b"0")
    found, _ = measured(folder, jobs := Here())
    assert jobs.started == [f"{blocks[0]}-write", f"{blocks[0]}-measure"]
    assert [part.folder.name for part in found] == ["2", "1"] and not left.exists()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("libraries", {"numpy": "1.0"}, r"numpy \(1\.0, then .*\)\. Install the same packages on all nodes"),
        ("harness", "0.0", r"harness \(0\.0, then .*\)"),
        ("commit", "another", r"commit \(another, then .*\)"),
    ],
)
def test_archives_that_another_library_wrote_are_not_read(tmp_path, monkeypatch, name, value, said):
    def otherwise(folder, written, *rest):
        return task.measure(folder, dataclasses.replace(written, software=written.software | {name: value}), *rest)

    monkeypatch.setattr("harness.extensions.cluster.campaign.measure", otherwise)
    _, document = measured(tmp_path / "run", Here(), dataclasses.replace(CONFIG, sizes=(24,)))
    problem = document["tasks"][1]["problem"]
    assert problem.startswith("these differ between ") and re.search(said, problem)


def _session(path: Path, **changes: object) -> None:
    document = json.loads(path.read_text())
    for session in document["sessions"]:
        for name, value in changes.items():
            session[name] = session[name] | value if isinstance(value, dict) else value
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            "library",
            r"002-.*, measured on node1, cannot be merged with 001-.*, measured on node0: .*numpy \(.*then 1\.0",
        ),
        ("commit", r"measured on node1.*commit \(.*, then another\)"),
        ("filesystem", r"measured on node1.*filesystem \(.*, then lustre\)"),
        ("cores_usable", r"measured on node1.*cores_usable \(.*, then 99\)"),
        ("memory_bytes", r"measured on node1.*memory_bytes \(.*, then .*\)"),
        ("seed", r"it was asked for seed 7, and not 0"),
        ("trace", r"it was asked for traces"),
        ("plan", r"its plan is not that of the run"),
        ("schema", r"samples.csv has schema version 3"),
        ("unknown schema", r"schema version 99"),
        ("short", r"rows that the plan asks for are missing"),
        ("contenders", r"has other contenders than"),
    ],
)
def test_a_block_that_does_not_belong_is_refused_by_name_and_nothing_is_written(copied, spoil, said):
    folder, parts = copied
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    part = parts[1].folder
    if spoil == "library":
        _session(part / "environment.json", libraries={"numpy": "1.0"})
    elif spoil in (others := {"commit": "another", "filesystem": "lustre", "cores_usable": 99}):
        _session(part / "environment.json", **{spoil: others[spoil]})
    elif spoil == "memory_bytes":
        _session(part / "environment.json", memory_bytes=int(1.02 * _memory(part)))
    elif spoil == "seed":
        _rewrite(part / "run.json", '"seed": 0', '"seed": 7')
    elif spoil == "trace":
        _rewrite(part / "run.json", "layers=1", "layers=2")
    elif spoil == "plan":
        _rewrite(part / "plan.json", '"load_once": false', '"load_once": true')
    elif spoil == "contenders":
        _rewrite(part / "plan.json", '"backend": "hdf5"', '"backend": "hdf5-of-another"')
    elif spoil in ("schema", "unknown schema"):
        lines = (part / "samples.csv").read_text().splitlines()
        version = {"schema": "3", "unknown schema": "99"}[spoil]
        lines[1:] = [f"{line.rpartition(',')[0]},{version}" for line in lines[1:]]
        (part / "samples.csv").write_text("\n".join(lines) + "\n")
    else:
        lines = (part / "samples.csv").read_text().splitlines()
        (part / "samples.csv").write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(HarnessError, match=said):
        merge(folder, _config(folder), parts)
    assert {path: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def _memory(part: Path) -> int:
    (session,) = read_environment(part / "environment.json")["sessions"]
    return int(session["memory_bytes"])


def test_memory_that_differs_by_less_than_a_percent_is_alike(copied):
    folder, parts = copied
    _session(parts[1].folder / "environment.json", memory_bytes=int(1.005 * _memory(parts[1].folder)))
    merge(folder, _config(folder), parts)
    find(folder, find_options(folder))


def test_a_block_that_is_whole_has_no_problem(copied):
    _, parts = copied
    assert [list(problems(part.folder, part.block, spoilt=False)) for part in parts] == [[], []]


def test_archives_that_a_filesystem_shows_otherwise_are_refused(tmp_path, monkeypatch):
    def behind(folder, written, apart, typed):
        path = next(path for arm, path in written.prepared.archives.items() if arm.label == "hdf5")
        path.write_bytes(path.read_bytes()[:-1])
        return task.measure(folder, written, apart, typed)

    monkeypatch.setattr("harness.extensions.cluster.campaign.measure", behind)
    _, document = measured(tmp_path / "run", Here())
    assert "the shared filesystem is behind" in document["tasks"][1]["problem"]
