"""Give each command files that try to run something, to wait for ever, or to take memory and time without end."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.attacks import _archives, _pickles, _special
from benchmarks.attacks._child import run

_MEMORY, _SECONDS = 512 << 20, 5.0  # above a process that has imported everything


@dataclass(frozen=True)
class Attack:
    """One hostile input."""

    name: str  # What it tries.
    arguments: tuple[str, ...]  # The command line.
    make: Callable[[Path], object]  # Takes an empty folder, in which the command then runs, and puts the input there.


def main() -> int:
    """Run all attacks, print a line for each kind and for each that got through, and return 1 where one did."""
    with tempfile.TemporaryDirectory(prefix="harness-attacks-") as name:
        folder = Path(name)
        witness = folder / "witness"
        kinds = {
            "hostile pickles": _pickled(str(witness)),
            "hostile archives and bundles": [Attack(*each) for each in _archives.hostile()],
            "pipes and devices": [Attack(*each) for each in _special.hostile()],
        }
        return max(_tried(kind, attacks, folder, witness) for kind, attacks in kinds.items())


def _pickled(witness: str) -> list[Attack]:
    found = []
    for name, data in _pickles.hostile(witness).items():

        def make(folder: Path, data: bytes = data) -> None:
            (folder / "result_model_1.pkl").write_bytes(data)

        found.append(Attack(name, ("convert", "result_model_1.pkl", "out.raw"), make))
    return found


def _tried(kind: str, attacks: list[Attack], folder: Path, witness: Path) -> int:
    """Run the attacks of one kind; return 1 where one got through."""
    counts = dict.fromkeys(("executed", "over 512 MB", "over 5 s", "without one sentence", "taken for good"), 0)
    peak, seconds = 0, 0.0
    for number, attack in enumerate(attacks):
        place = folder / f"{kind.split()[-1]}-{number}"
        place.mkdir()
        attack.make(place)
        taken = run(attack.arguments, place)
        peak, seconds = max(peak, taken.peak), max(seconds, taken.seconds)
        wrong = {
            "executed": witness.exists(),
            "over 512 MB": taken.peak > _MEMORY,
            "over 5 s": taken.seconds > _SECONDS,
            "without one sentence": "Traceback" in taken.said or taken.code < 0 or not taken.said.strip(),
            "taken for good": taken.code == 0,
        }
        for what, is_so in wrong.items():
            counts[what] += is_so
        if any(wrong.values()):
            said = json.dumps(taken.said[-300:])
            what = ", ".join(what for what, is_so in wrong.items() if is_so)
            print(f"  {attack.name}: {what} (exit {taken.code}, {taken.peak >> 20} MB, {taken.seconds:.1f} s): {said}")
        witness.unlink(missing_ok=True)
    told = ", ".join(f"{count} {what}" for what, count in counts.items())
    print(f"{kind}: {len(attacks)} tried, {told} (at most {peak >> 20} MB and {seconds:.1f} s)", flush=True)
    return int(any(counts.values()))


if __name__ == "__main__":
    sys.exit(main())
