"""Continuous integration: workflows that fit their schema and pin what they use, and scripts that do the work."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import harness

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
RECIPE = ROOT / ".ci/gitlab-ci.yml"
PINNED = re.compile(r"- uses: actions/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
# What a step may run besides a script: making the environment that scripts run in.
ENVIRONMENT = {"python -m pip install --quiet -e .", "make .venv/.extras", "make setup"}


def jobs(workflow: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    yield from yaml.safe_load(workflow.read_text())["jobs"].items()


@pytest.mark.parametrize(
    ("schema", "file"),
    [*(("vendor.github-workflows", file) for file in WORKFLOWS), ("vendor.gitlab-ci", RECIPE)],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_file_fits_the_schema_of_its_service(schema: str, file: Path, tmp_path: Path) -> None:
    pytest.importorskip("check_jsonschema", reason="check-jsonschema is not installed: pip install check-jsonschema")
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema]
    done = subprocess.run([*check, file], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    broken = tmp_path / file.name
    broken.write_text(
        re.sub(r"timeout-minutes: \d+", "timeout-minutes: soon", file.read_text()).replace("script:", "scrpt:")
    )
    assert subprocess.run([*check, broken], capture_output=True).returncode == 1


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_and_rights_and_times_limited(workflow: Path) -> None:
    lines = [line.strip() for line in workflow.read_text().splitlines() if "uses:" in line]
    assert lines and all(PINNED.match(line) or PINNED.match(f"- {line}") for line in lines), lines
    document = yaml.safe_load(workflow.read_text())
    assert document["permissions"] == {"contents": "read"} and document["concurrency"]["group"]
    for name, job in jobs(workflow):
        assert 0 < job["timeout-minutes"] <= 120, name
        granted = set(job.get("permissions", {}).items()) - {("contents", "read")}
        commenting = {"actions", "pull-requests"} if workflow.name == "comment.yml" else set()
        assert {right for right, _ in granted} <= {"pages", "id-token"} | commenting, name


def test_a_job_that_may_write_a_comment_runs_no_code_of_a_pull_request() -> None:
    text = (ROOT / ".github/workflows/comment.yml").read_text()
    document = yaml.safe_load(text)
    assert document[True] == {"workflow_run": {"workflows": ["check"], "types": ["completed"]}}  # YAML reads `on` so
    checkout, *_ = document["jobs"]["comment"]["steps"]
    assert "ref" not in checkout["with"] and "repository" not in checkout["with"], "main alone"
    left = {
        step["with"]["name"]: step["with"]["path"]
        for _, job in jobs(ROOT / ".github/workflows/check.yml")
        for step in job["steps"]
        if "upload-artifact" in step.get("uses", "")
    }
    command = document["jobs"]["comment"]["steps"][-1]["run"].split()
    assert command == [".ci/comment", "compared/comparison/compare.md", "compared/machines/report.md"]
    assert {"comparison", "machines"} <= set(left), "by a pattern, each has a folder of its own"


@pytest.mark.parametrize("file", [*WORKFLOWS, RECIPE], ids=lambda path: path.name)
def test_steps_are_scripts_that_are_there(file: Path) -> None:
    found = list(yaml.safe_load(file.read_text()).values()) if file == RECIPE else [job for _, job in jobs(file)]
    commands = [step["run"] for job in found if isinstance(job, dict) for step in job.get("steps", []) if "run" in step]
    commands += [line for job in found if isinstance(job, dict) for line in job.get("script", [])]
    assert commands or file.name == "none"
    for command in commands:
        if command in ENVIRONMENT or command.startswith("git branch "):
            continue
        script = ROOT / re.sub(r"^[A-Z_]+=\S+ ", "", command).split()[0]
        assert script.parent == ROOT / ".ci" and os.access(script, os.X_OK), command
        assert "set -euo pipefail" in script.read_text()


def test_every_supported_python_is_tested() -> None:
    classifiers = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text())
    matrix = dict(jobs(ROOT / ".github/workflows/check.yml"))["test"]["strategy"]["matrix"]["python"]
    tried = dict(jobs(ROOT / ".github/workflows/release.yml"))["try"]["strategy"]["matrix"]["python"]
    recipe = yaml.safe_load(RECIPE.read_text())["test"]["parallel"]["matrix"][0]["PYTHON_VERSION"]
    assert matrix == tried == classifiers == recipe


def test_the_version_has_one_place() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["version"]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == harness.__version__


FOUND, GONE = '#!/bin/sh\necho "$0"\n', "#!/bin/sh\nexit 127\n"  # what runs, and a name that stands for none


@pytest.mark.parametrize(
    ("stubs", "asked", "expected"),
    [
        ({"bin/python3.13": FOUND, "bin/python3.12": FOUND}, [], "bin/python3.13"),
        ({"bin/python3.13": GONE, "bin/python3.12": FOUND}, [], "bin/python3.12"),
        ({"bin/python3.13": GONE, "versions/3.13.9/bin/python3": FOUND, "versions/3.13.10/bin/python3": FOUND}, [],
         "versions/3.13.10/bin/python3"),
        ({"bin/python3.13": FOUND, "bin/python3.11": FOUND}, ["3.11"], "bin/python3.11"),
        ({"bin/python3.14": FOUND, "bin/python3.11": FOUND}, [], "bin/python3.11"),
    ],
    ids=["the newest", "not a shim", "pyenv's newest", "the one asked for", "not one that is not supported"],
)  # fmt: skip
def test_the_newest_python_that_runs_is_found(
    stubs: dict[str, str], asked: list[str], expected: str, tmp_path: Path
) -> None:
    assert run_python(tmp_path, stubs, asked) == (0, f"{tmp_path / expected}\n")


def test_without_a_python_that_runs_one_sentence_says_so(tmp_path: Path) -> None:
    code, said = run_python(tmp_path, {"bin/python3.12": FOUND}, ["3.11"])
    assert code == 1 and said == "No Python 3.11 was found that runs and can make environments.\n"


def run_python(folder: Path, stubs: dict[str, str], asked: list[str]) -> tuple[int, str]:
    """Run ``.ci/python`` where only these interpreters run; the machine's own are hidden behind names that do not."""
    hidden = {f"bin/python{version}": GONE for version in ("3", "3.11", "3.12", "3.13", "3.14")}
    for name, text in (hidden | stubs).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    settings = os.environ | {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "PYENV_ROOT": str(folder)}
    done = subprocess.run([ROOT / ".ci/python", *asked], env=settings, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def stubbed(tmp_path: Path) -> dict[str, str]:
    """An environment whose `harness` notes its arguments, leaves a summary where asked to, and ends as asked."""
    stub = tmp_path / "bin" / "harness"
    stub.parent.mkdir()
    stub.write_text(
        '#!/bin/sh\necho "$@" >"$NOTED"\n'
        'if [ -n "$SUMMARY" ]; then mkdir -p "$5"; echo "$SUMMARY" >"$5/compare.md"; fi\nexit "$CODE"\n'
    )
    stub.chmod(0o755)
    return os.environ | {
        "PATH": f"{stub.parent}:{os.environ['PATH']}",
        "NOTED": str(tmp_path / "noted"),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "step.md"),
    }


def compare(environment: dict[str, str], *arguments: str, code: int, summary: str) -> tuple[int, str]:
    command = [ROOT / ".ci/compare", *arguments]
    settings = environment | {"CODE": str(code), "SUMMARY": summary}
    done = subprocess.run(command, env=settings, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("code", "expected", "said"),
    [(0, 0, ""), (1, 1, "::error::.*regression"), (2, 2, "::error::.*could not"), (3, 0, "::warning::.*inconclusive"),
     (137, 137, "::error::.*137")],
)  # fmt: skip
def test_the_outcome_of_a_comparison_is_the_steps(
    code: int, expected: int, said: str, stubbed: dict[str, str], tmp_path: Path
) -> None:
    found, output = compare(stubbed, "abc", "def", str(tmp_path / "out"), code=code, summary="# two commits")
    assert found == expected and re.search(said, output) and ("::" in output) == bool(said)
    assert (tmp_path / "noted").read_text().split() == ["compare", "abc", "def", "--out", str(tmp_path / "out")]
    assert (tmp_path / "step.md").read_text() == "# two commits\n"


def test_the_summary_goes_to_the_log_where_there_is_no_place_for_it(stubbed: dict[str, str], tmp_path: Path) -> None:
    del stubbed["GITHUB_STEP_SUMMARY"]
    found, output = compare(stubbed, "abc", "def", str(tmp_path / "out"), code=1, summary="# two commits")
    assert found == 1 and "# two commits" in output


def test_a_comparison_without_a_summary_is_no_success(stubbed: dict[str, str], tmp_path: Path) -> None:
    assert compare(stubbed, "abc", "def", str(tmp_path / "out"), code=0, summary="")[0] == 2
    assert compare(stubbed, "abc", "def", str(tmp_path / "out"), code=3, summary="")[0] == 2
    assert compare(stubbed, "abc", "def", str(tmp_path / "out"), code=2, summary="")[0] == 2
    assert compare(stubbed, "abc", "def", str(tmp_path / "out"), code=137, summary="")[0] == 137
    assert compare(stubbed, "abc", code=0, summary="")[0] == 2


def test_the_summary_of_an_earlier_comparison_is_not_taken_for_this_one(stubbed, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "compare.md").write_text("**No regression**")
    found, output = compare(stubbed, "abc", "def", str(tmp_path / "out"), code=0, summary="")
    assert found == 2 and "earlier comparison" in output and not (tmp_path / "noted").exists()


@pytest.mark.slow
def test_the_report_of_a_run_is_published_with_its_bundle(tmp_path: Path) -> None:
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    tiny = ["--preset", "quick", "--trace", "synthetic:layers=1,heads=2,hidden_dim=16,pair_dim=8", "--sizes", "32"]
    tiny += ["--formats", "npz", "--suites", "size", "--rounds", "1", "--cache", "warm", "--readers", "stock"]
    settings = {"VENV": str(Path(sys.executable).parents[1]), "GITHUB_SHA": "0123456789abcdef"}
    command = [tmp_path / ".ci/report", tmp_path / "site", tmp_path / "bundles", *tiny]
    done = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "site/index.html").read_text().rstrip().endswith("</html>")
    assert (tmp_path / "site/report.md").read_text().startswith("#")
    with zipfile.ZipFile(tmp_path / "bundles/0123456789ab.bundle.zip") as bundle:
        assert any(name.endswith("samples.csv") for name in bundle.namelist())


@pytest.mark.parametrize("script", ["comment", "compare", "machines", "newest", "report", "track"])
def test_a_script_without_arguments_says_how_it_is_used(script: str) -> None:
    done = subprocess.run([ROOT / ".ci" / script], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith(f"Usage: .ci/{script} ")


GH = """#!/bin/bash
echo "$@" >>"$NOTED"
for word; do case "$word" in body=@*) cp "${word#body=@}" "$POSTED" ;; esac; done
case "$*" in
*/pulls\\ *) echo "$PULL" ;;
*--paginate*) echo "$BEFORE" ;;
esac
"""


def comment(tmp_path: Path, *files: Path, pull: str = "7", before: str = "") -> tuple[int, str, list[str]]:
    """Run ``.ci/comment`` with a program in place of gh, which answers as GitHub would and keeps what was posted."""
    stub = tmp_path / "bin" / "gh"
    stub.parent.mkdir(exist_ok=True)
    stub.write_text(GH)
    stub.chmod(0o755)
    noted = tmp_path / "noted"
    noted.write_text("")
    settings = os.environ | {
        "PATH": f"{stub.parent}:{os.environ['PATH']}", "NOTED": str(noted), "POSTED": str(tmp_path / "posted"),
        "PULL": pull, "BEFORE": before, "REPOSITORY": "lab/harness", "HEAD": "stranger:a branch", "SHA": "0123abcd",
    }  # fmt: skip
    done = subprocess.run([ROOT / ".ci/comment", *files], env=settings, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr, noted.read_text().splitlines()


def test_a_comment_is_posted_once_and_then_updated_in_place(tmp_path: Path) -> None:
    files = [tmp_path / "compare.md", tmp_path / "report.md", tmp_path / "none.md"]
    files[0].write_text("**No regression**, says @somebody\n")
    files[1].write_text("# Which verdicts hold on all runs?\n")
    code, said, asked = comment(tmp_path, *files)
    assert code == 0 and "Posted a comment on pull request 7." in said, said
    assert "head=stranger:a branch" in asked[0] and 'select(.head.sha == "0123abcd")' in asked[0]
    assert "--method POST repos/lab/harness/issues/7/comments" in asked[-1]
    posted = (tmp_path / "posted").read_text()
    whose = "Written by the code of this pull request."
    assert posted.startswith(f"<!-- trace-format-harness: comparison -->\n{whose}\n\n**No regression**")
    assert "# Which verdicts" in posted and "@somebody" not in posted, "nobody is addressed"
    code, said, asked = comment(tmp_path, *files, before="11\n12")
    assert code == 0 and "Updated comment 12" in said
    assert "--method PATCH repos/lab/harness/issues/comments/12" in asked[-1]
    assert not any("POST" in line for line in asked)


def test_nothing_is_posted_where_there_is_nothing_or_no_such_pull_request(tmp_path: Path) -> None:
    code, said, asked = comment(tmp_path, tmp_path / "none.md")
    assert code == 0 and "nothing was posted" in said and asked == []
    (tmp_path / "report.md").write_text("# Report\n")
    code, said, asked = comment(tmp_path, tmp_path / "report.md", pull="")
    assert code == 0 and "nothing was posted" in said and len(asked) == 1


def test_a_link_is_not_posted_and_what_is_no_text_does_not_stop_a_comment(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("a token")
    (tmp_path / "compare.md").symlink_to(tmp_path / "secret")
    code, said, asked = comment(tmp_path, tmp_path / "compare.md")
    assert code == 0 and "nothing was posted" in said and asked == []
    (tmp_path / "report.md").write_bytes(b"# Report\n\xff\n")
    assert comment(tmp_path, tmp_path / "compare.md", tmp_path / "report.md")[0] == 0
    posted = (tmp_path / "posted").read_text()
    assert "# Report\n\ufffd" in posted and "a token" not in posted


def test_a_long_comment_ends_before_a_heading(tmp_path: Path) -> None:
    part = "## Part\n\n" + "a row of a table\n" * 1000
    (tmp_path / "report.md").write_text("# Report\n\n" + f"{part}\n" * 6)
    assert comment(tmp_path, tmp_path / "report.md")[0] == 0
    posted = (tmp_path / "posted").read_text()
    assert 20_000 < len(posted) <= 60_000 and posted.rstrip().endswith("see the artifacts of the workflow.")
    assert posted.count("## Part") == 3 and posted.count("a row of a table") == 3000


def test_runs_of_several_machines_have_one_report(stubbed: dict[str, str], tmp_path: Path) -> None:
    stub = tmp_path / "bin" / "harness"
    stub.write_text(
        '#!/bin/sh\necho "$@" >"$NOTED"\nfor out; do :; done\nmkdir -p "$out"; echo "# both" >"$out/report.md"\n'
    )
    command = [ROOT / ".ci/machines", tmp_path / "out", "a.zip", "b.zip"]
    done = subprocess.run(command, env=stubbed | {"CODE": "0", "SUMMARY": ""}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "noted").read_text().split() == ["report", "a.zip", "b.zip", "--out", str(tmp_path / "out")]
    assert (tmp_path / "step.md").read_text() == "# both\n"
