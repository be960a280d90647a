"""No stored file has a module imported, and no module is taken from the current folder that was not typed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import registry
from harness.analysis.report_options import find_options
from harness.cli import _COMMANDS, main
from harness.evidence.bundle import read_bundle, write_bundle
from harness.report.write import write_report
from harness.row_files import read_samples
from tests.conftest import plain
from tests.evidence.conftest import repack

pytestmark = pytest.mark.slow

MARK = "import pathlib\npathlib.Path({!r}).touch()\n"
PROFILE = 'version = 1\nname = "mine"\n[formats."stranger:Format".pair]\ncodec = "none"\n'
FIELDS = {
    "formats": lambda run: [*run["formats"], "stranger:Format"],
    "suites": lambda run: [*run["suites"], "stranger:suite"],
    "profile_files": lambda run: [PROFILE],
}
COMMANDS = {
    "report": ["report", "RUN"],
    "bundle": ["bundle", "RUN", "--out", "NEW"],
    "project": ["project", "RUN"],
    "resume": ["run", "--resume", "--out", "RUN"],
    "check": ["check", "BUNDLE"],
    "rerun": ["check", "BUNDLE", "--rerun", "--out", "NEW"],
    "compare": ["compare", "RUN", "RUN", "--out", "NEW"],
    "history": ["history", "add", "RUN", "--file", "NEW"],
}
COMMANDS = {name: words for name, words in COMMANDS.items() if words[0] in {*_COMMANDS, *registry.names("commands")}}
NEEDS = {  # which commands cannot do their work without the plug-in, and so name the option
    "formats": {"project", "resume", "check"},
    "suites": {"resume", "check"},
    "profile_files": set(COMMANDS) - {"rerun"},
}


@pytest.fixture(scope="module", autouse=True)
def undrawn() -> Iterator[None]:
    """Leave all drawings out, of reports and of bundles and their checks alike."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("harness.report.write._draw", lambda findings, parts, target: [])
        yield


@pytest.fixture(scope="module")
def honest(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with its report; not to be changed."""
    folder = Path(shutil.copytree(tiny, tmp_path_factory.mktemp("honest") / "results" / "tiny"))
    write_report(folder, find_options(folder))
    return folder


@pytest.fixture(scope="module")
def bundle(honest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its bundle."""
    path = tmp_path_factory.mktemp("honest") / "honest.bundle.zip"
    write_bundle(honest, path)
    return path


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that would be found, in the current folder; the file that it leaves when it is imported."""
    mark = tmp_path / "imported"
    (tmp_path / "stranger.py").write_text(MARK.format(str(mark)))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "stranger", raising=False)
    monkeypatch.chdir(tmp_path)
    return mark


def arguments(command: str, honest: Path, bundle: Path, field: str, folder: Path) -> list[str]:
    """Make a run and its bundle that name a stranger's module, and fill them into a command."""
    run = Path(shutil.copytree(honest, folder / "results" / "tiny"))
    document = json.loads((run / "run.json").read_text())
    document[field] = FIELDS[field](document)
    text = json.dumps(document)
    forged = repack(bundle, {**read_bundle(bundle).files, "run.json": text.encode()}, folder / "b.bundle.zip")
    (run / "run.json").write_text(text)
    places = {"RUN": run, "BUNDLE": forged, "NEW": folder / "new.bundle.zip"}
    return [str(places.get(word, word)) for word in COMMANDS[command]]


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_imports_what_a_stored_file_names(command, field, honest, bundle, stranger, tmp_path, capsys):
    code = main(arguments(command, honest, bundle, field, tmp_path))
    said = "".join(capsys.readouterr())
    assert not stranger.exists() and "Traceback" not in said
    if command in NEEDS[field]:
        option = "--suite" if field == "suites" else "--backend"
        assert "registered by no installed package" in plain(said) and option in said
        assert code != 0 or "not checked here" in said


def test_what_was_typed_is_imported_for_this_command_and_no_other(honest, bundle, stranger, tmp_path, capsys):
    words = arguments("check", honest, bundle, "suites", tmp_path)
    main([*words, "--suite", "stranger:suite"])
    assert stranger.exists() and "has no attribute 'suite'" in plain("".join(capsys.readouterr()))
    stranger.unlink()
    sys.modules.pop("stranger")
    main(words)
    assert not stranger.exists()
    assert main([*words, "--backend", "pathlib:Path"]) == 1  # typed as a format, and the suite is not
    said = plain("".join(capsys.readouterr()))
    assert "if you trust them, add --suite stranger:suite." in said and not stranger.exists()


def test_a_test_runner_that_a_bundle_names_is_not_run(honest, bundle, tmp_path, capsys):
    text = (honest / "run.json").read_text().replace('"layer_read"', '"unittest.__main__:X"')
    files = {**read_bundle(bundle).files, "run.json": text.encode()}
    assert main(["check", str(repack(bundle, files, tmp_path / "b.bundle.zip"))]) == 1
    assert "Ran 0 tests" not in "".join(capsys.readouterr())


IN_THE_WAY = ("numpy", "zarr", "msgspec", "h5py", "signal", "types", "socket", "pickle", "multiprocessing", "harness_x")
OWN = "from harness.formats.raw import RawFormat\nclass Format(RawFormat):\n    name, suffix = 'own', '.own'\n"


@pytest.mark.parametrize(
    ("program", "resumed", "suites", "executors"),
    [
        ([sys.executable, "-m", "harness"], True, "full_read,parallel_access", {"main", "processes"}),
        ([str(Path(sys.executable).parent / "harness")], False, "full_read", {"main"}),
    ],
)
def test_the_current_folder_gives_the_typed_module_and_nothing_else(program, resumed, suites, executors, tmp_path):
    for name in IN_THE_WAY:
        (tmp_path / f"{name}.py").write_text(MARK.format(str(tmp_path / f"imported-{name}")) + "raise SystemExit(77)\n")
    (tmp_path / "my_formats.py").write_text(OWN)
    trace = "synthetic:layers=1,heads=2,hidden_dim=8,pair_dim=4"
    measure = ["run", "--quiet", "--preset", "quick", "--readers", "stock", "--trace", trace, "--sizes", "16"]
    measure += ["--formats", "hdf5", "--suites", suites, "--rounds", "1"]
    measure += ["--executors", "processes", "--workers", "2"] if "processes" in executors else []
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONSAFEPATH")}
    typed = ["--backend", "my_formats:Format", "--out", "run"]
    for words in ([*measure, *typed], *([["run", "--resume", *typed]] if resumed else [])):
        done = subprocess.run([*program, *words], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    assert main(["report", str(tmp_path / "run")]) == 0, "a report does without the module"
    samples = read_samples(tmp_path / "run" / "samples.csv")
    assert "own" in set(samples["format"]) and set(samples["executor"]) == executors
    assert (samples["status"] == "ok").all() and not list(tmp_path.glob("imported-*"))
