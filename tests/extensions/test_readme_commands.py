"""Every command of the README and the pages of docs works: as it stands there, on presets that are made small."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.directories import af2, digests
from harness.cli import main
from harness.formats.archive import open_archive
from harness.run.presets import PRESETS
from harness.workload import PlanOptions
from tests.outputs import attention_folder

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
_NAMED = ("commands", "tutorial", "modes", "tuning", "follow", "capture", "long-sequences", "result-directories")
PAGES = [ROOT / "README.md", *(ROOT / "docs" / f"{name}.md" for name in _NAMED)]
BLOCKS = [block for page in PAGES for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.S)]
LINES = [line.partition(" #")[0].strip() for block in BLOCKS for line in block.splitlines() if line.strip()]
COMMANDS = list(dict.fromkeys(LINES))  # the README's again in a page
ELSEWHERE = {"make bench", "make test", "make capture-demo"}  # run by .ci/run; each stands there word for word
ANSWERS = {"harness history show": 3}  # where the exit code is the answer
OF_A_RUN = re.compile(r"results/first|first\.bundle|history")  # of the first run and what follows from it

TRACE = "synthetic:layers=1,heads=2,hidden_dim=16,pair_dim=8"

Shell = Callable[[list[str]], None]


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
