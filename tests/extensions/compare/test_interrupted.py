"""Ctrl-C in the middle of a comparison: one sentence, code 130, no process and no document left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.extensions.compare.side import output

pytestmark = pytest.mark.slow

MARK = "HARNESS_TEST_MARK"
ROOT = Path(__file__).parents[3]


def environment_of(process: Path) -> str:
    try:
        return (process / "environ").read_text(errors="replace")
    except OSError:
        return ""  # it is another's, or gone


def wait(reached: Callable[[], bool]) -> None:
    while not reached():
        time.sleep(0.005)


@pytest.mark.parametrize("whom", ["the group, as a terminal does", "the process alone"])
@pytest.mark.parametrize("when", ["importing", "in a round"])
def test_a_comparison_that_is_interrupted_leaves_nothing(tmp_path, when, whom):
    out, scratch = tmp_path / "out", tmp_path / "tmp"
    scratch.mkdir()
    side = f"existing:{sys.executable}"
    options = ["--env", side, "--env", side, "--formats", "npz", "--suites", "layer_read", "--sizes", "32", "--quiet"]
    process = subprocess.Popen(
        [sys.executable, "-m", "harness", "compare", *options, "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Tests that run in the background inherit an ignored SIGINT, and would pass it on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(scratch), MARK: str(tmp_path)},
    )
    maps = Path(f"/proc/{process.pid}/maps")
    reached = {
        "importing": lambda: "/pandas/" in maps.read_text(),
        "in a round": lambda: bool(list(scratch.glob("harness-compare-*/archives/round-0/*"))),
    }[when]
    wait(lambda: reached() or process.poll() is not None)
    assert process.poll() is None
    (os.killpg if "group" in whom else os.kill)(process.pid, signal.SIGINT)
    said, errors = process.communicate()
    assert (process.returncode, said, errors) == (130, "", "harness: Interrupted.\n")
    assert not out.exists() and not list(scratch.iterdir())
    assert not [other for other in Path("/proc").glob("[0-9]*") if f"{MARK}={tmp_path}\0" in environment_of(other)]


def test_a_step_of_a_build_that_is_interrupted_takes_along_what_it_started(tmp_path):
    started = tmp_path / "started"
    command = ["sh", "-c", f"sleep 600 & echo $! > {started}.new; mv {started}.new {started}; wait"]

    def press() -> None:
        wait(started.exists)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it may be ignored
    presser = threading.Thread(target=press)
    presser.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            output(command, dict(os.environ))
    finally:
        presser.join()
        signal.signal(signal.SIGINT, before)
    status = Path(f"/proc/{started.read_text().strip()}/status")
    wait(lambda: not status.exists() or "State:\tZ" in status.read_text())  # killed; whoever adopted it may be slow


def test_what_a_step_of_a_build_says_and_its_code_come_back():
    assert output(["sh", "-c", "echo out; echo err >&2; exit 3"], dict(os.environ)) == (3, "out\n", "err\n")
