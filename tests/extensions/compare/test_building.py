"""What a side can be built from, and what is refused, each with one sentence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.extensions.compare.building import build, commit_side, differing, environment_side
from harness.extensions.compare.question import CompareSettings
from harness.extensions.compare.side import Side

pytestmark = pytest.mark.slow

HERE = Path(sys.executable)
_NO_BUILD = '[build-system]\nrequires = []\nbuild-backend = "nothing"\nbackend-path = ["."]\n'


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=Tester", "-c", "user.email=tester@example.org"]
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--initial-branch", "main")
    (folder / "notes.txt").write_text("nothing to build\n")
    git(folder, "add", ".")
    git(folder, "commit", "--message", "Begin")
    return folder


def test_a_commit_is_named_by_its_hash_and_subject(repository):
    side = commit_side("base", "main", HERE, (), repository)
    assert side.label.startswith("main (") and side.label.endswith(": Begin)")
    assert len(side.source) == 40


def test_what_is_no_commit_is_refused(repository, tmp_path):
    with pytest.raises(UsageError, match=r"no head 'mian'.*nor the folder or bundle of a run"):
        commit_side("head", "mian", HERE, (), repository)
    with pytest.raises(UsageError, match="is not a git checkout"):
        commit_side("base", "main", HERE, (), tmp_path)
    with pytest.raises(UsageError, match="no base '--all'"):
        commit_side("base", "--all", HERE, (), repository)


def test_a_dirty_work_tree_is_refused_by_the_name_of_what_changed(repository):
    (repository / "notes.txt").write_text("changed\n")
    with pytest.raises(UsageError, match=r"changes that no commit holds \(notes.txt\).*commit or stash"):
        commit_side("base", "main", HERE, (), repository)


@pytest.mark.parametrize(("file", "said"), [("", "it has no pyproject.toml"), (_NO_BUILD, "does not build")])
def test_a_base_that_does_not_build_is_refused_and_leaves_nothing(repository, tmp_path, file, said):
    if file:
        (repository / "pyproject.toml").write_text(file)
        git(repository, "add", ".")
        git(repository, "commit", "--message", "Break the build")
    side = commit_side("base", "main", HERE, (), repository)
    for _ in range(2):  # the second time finds nothing that looks whole
        with pytest.raises(UsageError, match=said) as caught:
            build(side, tmp_path / "cache")
        assert str(caught.value).startswith("The base, main (") and str(caught.value).count("\n") == 0
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]


def test_an_environment_that_exists_is_used_as_it_is(tmp_path):
    side = build(environment_side("head", f"existing:{HERE}", HERE), tmp_path / "cache")
    assert side.python == HERE.absolute() and "hdf5" in side.facts["formats"]
    assert not (tmp_path / "cache").exists()
    bare = tmp_path / "bare"
    subprocess.run([HERE, "-m", "venv", "--without-pip", str(bare)], check=True)
    with pytest.raises(UsageError, match=r"cannot be measured: .*No module named 'harness'"):
        build(environment_side("base", f"existing:{bare}/bin/python", HERE), tmp_path / "cache")


@pytest.mark.parametrize("text", ["", "  ", "--index-url=x", "existing:/nowhere/python"])
def test_what_is_no_environment_is_refused(text):
    with pytest.raises(UsageError, match="--env"):
        environment_side("base", text, HERE)


def test_several_requirements_make_one_environment():
    assert environment_side("base", "zarr==3.1.6, h5py>=3.14,<4 numpy", HERE).pins == (
        "zarr==3.1.6",
        "h5py>=3.14,<4",
        "numpy",
    )


def facts(**changes):
    return {"python": "3.12.1", "packages": {"zarr": "3.1.6"}, "formats": ["hdf5"], "suites": ["size"], **changes}


def sides(ours, theirs):
    return [Side(name=n, label=n, python=HERE, facts=f) for n, f in (("base", ours), ("head", theirs))]


def test_what_differs_besides_the_project_is_named():
    assert differing(*sides(facts(), facts())) == []
    other = facts(python="3.13.0", packages={"zarr": "3.4.2", "pip": "1"})
    assert differing(*sides(facts(), other)) == ["Python (3.12.1, then 3.13.0)", "zarr (3.1.6, then 3.4.2)"]


def test_a_side_without_the_suite_or_format_is_refused_by_name():
    base, head = sides(facts(), facts(suites=["size", "layer_read"]))
    asked = CompareSettings(formats=("hdf5",), suites=("size",))
    assert asked.chosen(base, head) == asked
    with pytest.raises(UsageError, match="The base, base, has no suite 'layer_read'"):
        CompareSettings(suites=("layer_read",)).chosen(base, head)
    with pytest.raises(UsageError, match="has no format 'zarr'"):
        CompareSettings(formats=("zarr",)).chosen(base, head)
    base, head = sides(facts(formats=["hdf5", "zarr"]), facts(formats=["hdf5"]))
    # A regression, found when head is asked to write one.
    assert CompareSettings(formats=("zarr",)).chosen(base, head).formats == ("zarr",)


def test_without_names_both_sides_are_asked_what_both_have():
    every = CompareSettings().chosen()
    assert {"hdf5", "zarr"} <= set(every.formats) and {"size", "layer_read"} <= set(every.suites)
    assert not {"raw", "parallel_access"} & {*every.formats, *every.suites}
    base, head = sides(facts(), facts(suites=["size", "layer_read"], formats=["hdf5", "zarr"]))
    found = CompareSettings().chosen(base, head)
    assert (found.formats, found.suites) == (("hdf5",), ("size",))
    with pytest.raises(UsageError, match="has no format"):
        CompareSettings().chosen(*sides(facts(formats=["other"]), facts()))
