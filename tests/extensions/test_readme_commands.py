"""Every command of the README and the pages of docs works: as it stands there, on presets that are made small."""

from __future__ import annotations

import argparse
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.directories import af2, digests
from harness.cli import _parser, main
from harness.formats.archive import open_archive
from harness.run.presets import PRESETS
from harness.workload import PlanOptions
from tests.outputs import attention_folder

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
_NAMED = (
    "commands",
    "tutorial",
    "modes",
    "tuning",
    "follow",
    "capture",
    "long-sequences",
    "result-directories",
    "slimming",
)
PAGES = [ROOT / "README.md", *(ROOT / "docs" / f"{name}.md" for name in _NAMED)]
ALONE = ("own-data", "elsewhere", "complexes")  # run below, each in a folder of its own
BY_OTHERS = {
    "cluster": "tests/extensions/cluster/test_local.py",
    "compare": "tests/extensions/compare/test_command.py",
    "formats": "tests/formats/test_conformance.py",
    "suites": "tests/report/test_strangers.py",
}
_BLOCK = re.compile(r"(?:<!-- not run: (?P<why>.+?) -->\n)?```(?:sh|text)\n(?P<code>.*?)```", re.S)
_COMMAND = re.compile(r"^(?:\w+=\S+ )*(?:\S*bin/)?(?:harness|make|python3?|pip|asv|sbatch) ", re.M)


def commands(page: Path) -> list[str]:
    """Return the commands of a page that a test has to run, without comments."""
    blocks = [found["code"] for found in _BLOCK.finditer(page.read_text()) if not found["why"]]
    lines = [line.partition(" #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if _COMMAND.match(line)]


COMMANDS = list(dict.fromkeys(command for page in PAGES for command in commands(page)))  # the README's again in a page
ELSEWHERE = {"make bench", "make test", "make capture-demo"}  # run by .ci/run; each stands there word for word
ANSWERS = {"harness history show": 3}  # where the exit code is the answer
OF_A_RUN = re.compile(r"results/first|first\.bundle|history")  # of the first run and what follows from it

TRACE = "synthetic:layers=1,heads=2,hidden_dim=16,pair_dim=8"

Shell = Callable[[list[str]], None]


def test_every_page_with_commands_is_run_or_says_what_it_needs() -> None:
    with_commands = {page.stem for page in (ROOT / "docs").glob("*.md") if commands(page)}
    assert with_commands == {*_NAMED, *ALONE, *BY_OTHERS}
    for page, path in BY_OTHERS.items():
        assert f'"{page}.md"' in (ROOT / path).read_text()


def test_commands_that_need_something_are_understood() -> None:
    """They are parsed and not run."""
    blocks = [found for page in (ROOT / "docs").glob("*.md") for found in _BLOCK.finditer(page.read_text())]
    lines = [line for found in blocks if found["why"] for line in found["code"].replace("\\\n", " ").splitlines()]
    parsed = [shlex.split(line.partition(" #")[0]) for line in lines if re.match(r"(\.venv/bin/)?harness ", line)]
    assert {words[1] for words in parsed} == {"report", "capture", "run"}
    for words in parsed:
        _parser().parse_args(words[1:], argparse.Namespace(debug=False))


def test_commands_that_are_not_run_here_stand_in_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert set(COMMANDS) & ELSEWHERE == ELSEWHERE
    for command in ELSEWHERE:
        assert re.search(rf"^{command.split()[1]}:", makefile, re.M)


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Shell:
    """Run commands of the README in an empty folder."""
    monkeypatch.chdir(tmp_path)
    plan = PlanOptions(
        attention_windows=4, pair_windows=2, parallel_windows=4, workers=(("threads", 1), ("threads", 2))
    )
    small = {"traces": (TRACE,), "sizes": (16, 32), "caches": ("warm",), "rounds": 2, "options": plan}
    small["readers"] = ("stock",)  # formats at their best are measured by many other tests
    for preset in PRESETS:
        monkeypatch.setitem(PRESETS, preset, PRESETS[preset] | small)

    def run(commands: list[str]) -> None:
        for command in commands:
            words = shlex.split(command.replace(".venv/bin/", ""))
            if real := words[0].startswith("HARNESS_DATA="):  # data of the reader's; here it is refused with what to do
                monkeypatch.setenv(*words.pop(0).split("="))
            code = 2 if real else ANSWERS.get(shlex.join(words), 0)
            assert words.pop(0) == "harness" and main(words) == code, f"{command}: {capfd.readouterr().err}"
            assert not real or "needs the file" in capfd.readouterr().err

    return run


def test_every_command_on_a_run_works(shell: Shell) -> None:
    shell([command for command in COMMANDS if OF_A_RUN.search(command)])


def test_every_other_command_works(shell: Shell, tmp_path: Path) -> None:
    before = digests(af2(tmp_path / "predictions" / "job"))
    (tmp_path / "attention").mkdir()
    attention_folder(tmp_path / "attention" / "1UBQ_1")
    np.savez(tmp_path / "result.npz", attn=np.ones((2, 9, 9), np.float32))
    shell([command for command in COMMANDS if command not in ELSEWHERE and not OF_A_RUN.search(command)])
    assert digests(tmp_path / "predictions" / "job") == before  # slimmed and brought back
    *_, snippet = re.findall(r"```python\n(.*?)```", (ROOT / "docs/slimming.md").read_text(), re.S)
    found: dict[str, Any] = {}
    exec(snippet, found)  # reads the archive that a command above wrote
    with open_archive(tmp_path / "trace.h5") as (_, reader, _):
        np.testing.assert_array_equal(found["stored"], reader.read("activations/layer_1/pair_repr"))


def test_the_commands_on_own_arrays_work(shell: Shell, tmp_path: Path) -> None:
    np.savez(tmp_path / "result.npz", attn=np.ones((2, 3, 9, 9), np.float32), junk=np.ones(5))
    short = " --formats hdf5 --suites size --quiet"
    shell([command + short for command in commands(ROOT / "docs" / "own-data.md")])
    assert len(list((tmp_path / "results").iterdir())) == 2


def test_the_commands_on_complexes_work(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "examples").mkdir()
    shutil.copy(ROOT / "examples" / "complex.h5", tmp_path / "examples")
    shell(commands(ROOT / "docs" / "complexes.md"))
    (snippet,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/complexes.md").read_text(), re.S)
    exec(snippet, {})  # writes a file with h5py
    shell(["harness verify --schema theirs.h5"])


def test_the_commands_for_other_programs_work(shell: Shell, tmp_path: Path) -> None:
    shell(["harness convert synthetic:n_res=16,layers=1 trace.h5", *commands(ROOT / "docs" / "elsewhere.md")])
    assert (tmp_path / "trace.plain.npz").is_file() and (tmp_path / "trace.vizfold.zarr").is_dir()
