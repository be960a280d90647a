"""Rates of comparisons with a false regression, and of comparisons that find a slowdown that was put in."""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.sides import changed_copy, slower

_SLOWED = "hdf5"
_REDUCED = ("--formats", "hdf5,zarr-slim", "--suites", "layer_read,random_access")
_Z = 1.959964  # of a 95 % interval


def wilson(count: int, of: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson 1927)."""
    if not of:
        return 0.0, 1.0
    share = count / of
    centre, spread = share + _Z**2 / (2 * of), _Z * math.sqrt(share * (1 - share) / of + _Z**2 / (4 * of**2))
    return (centre - spread) / (1 + _Z**2 / of), (centre + spread) / (1 + _Z**2 / of)


def compare(base: Path, head: Path, seed: int, options: Sequence[str]) -> dict[str, Any]:
    """Run one comparison through the command line; return the figures of it that are kept."""
    with tempfile.TemporaryDirectory(prefix="harness-power-") as name:
        out = Path(name) / "out"
        command = [
            sys.executable, "-m", "harness", "compare", "--env", f"existing:{base}", "--env", f"existing:{head}",
            "--seed", str(seed), "--quiet", "--out", str(out), *options,
        ]  # fmt: skip
        start = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True)
        seconds = time.monotonic() - start
        if done.returncode == 2:
            raise SystemExit(done.stderr)
        found = json.loads((out / "compare.json").read_text())
    kept = ("verdict", "exit_code", "regressions", "rounds_needed", "entries")
    return {
        "seconds": round(seconds, 1),
        "load_average": found["facts"]["load_average"],
        **{k: found[k] for k in kept},
    }


def main() -> int:
    """Run comparisons and print their verdicts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--aa", type=int, default=0, help="comparisons of two equal copies")
    parser.add_argument("--slow", type=float, action="append", default=[], help="a factor, such as 1.10; repeatable")
    parser.add_argument("--runs", type=int, default=10, help="comparisons for each factor")
    parser.add_argument("--seed", type=int, default=0, help="of the first comparison")
    parser.add_argument("--full", action="store_true", help="the default comparison instead of a reduced one")
    parser.add_argument("--record", type=Path, help="a file of JSON lines, added to")
    arguments = parser.parse_args()
    options = () if arguments.full else _REDUCED
    with tempfile.TemporaryDirectory(prefix="harness-sides-") as name:
        folder = Path(name)
        base = changed_copy(folder / "base", {})
        for factor, runs in [(1.0, arguments.aa), *((factor, arguments.runs) for factor in arguments.slow)]:
            if not runs:
                continue
            head = changed_copy(folder / f"head-{factor}", {} if factor == 1 else slower(_SLOWED, factor))
            ends: list[dict[str, Any]] = []
            for number in range(runs):
                ends.append({"factor": factor, **compare(base, head, arguments.seed + number, options)})
                if arguments.record:
                    with arguments.record.open("a") as file:
                        file.write(json.dumps(ends[-1]) + "\n")
                print(f"  {factor:g} {number + 1}: {ends[-1]['verdict']} in {ends[-1]['seconds']:.0f} s", flush=True)
            print(_said(factor, ends), flush=True)
    return 0


def _said(factor: float, ends: Sequence[dict[str, Any]]) -> str:
    red, open_ = (sum(end["verdict"] == word for end in ends) for word in ("regression", "inconclusive"))
    low, high = wilson(red, len(ends))
    what = "no change" if factor == 1 else f"{_SLOWED} {100 * (factor - 1):.0f} % slower"
    longest = max(end["seconds"] for end in ends)
    return (
        f"{what}: {red} of {len(ends)} red ({100 * low:.1f} to {100 * high:.1f} %), {open_} inconclusive, "
        f"the longest took {longest:.0f} s"
    )


if __name__ == "__main__":
    raise SystemExit(main())
