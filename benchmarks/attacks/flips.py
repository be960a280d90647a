"""Flip single bits of archives in every format: ``verify`` has to find each."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

from harness import registry
from harness.errors import HarnessError
from harness.formats.archive import verify_archive, write_archive
from harness.formats.base import load_format
from harness.formats.seal import files_of
from harness.trace.sources import open_trace

_FLIPS = 400  # in each format
_TRACE = "synthetic:n_res=16,layers=1,heads=2"


def main() -> int:
    """Flip, print a line for each format, and return 1 where a flip was not found."""
    missed = 0
    with tempfile.TemporaryDirectory(prefix="harness-flips-") as folder:
        for listed in registry.listing("formats"):
            if listed.missing:
                print(f"single-bit flips, {listed.name}: not tried, it {listed.missing}")
                continue
            backend = load_format(listed.name)
            archive = Path(folder) / f"archive{backend.suffix}"
            write_archive(open_trace(_TRACE), backend, archive)
            found = sum(_is_found(archive, random.Random(number)) for number in range(_FLIPS))
            print(f"single-bit flips, {listed.name}: {_FLIPS} tried, {_FLIPS - found} not found")
            missed += _FLIPS - found
    return 1 if missed else 0


def _is_found(archive: Path, chance: random.Random) -> bool:
    """Flip one bit anywhere in the files of an archive, and say whether that is found; the bit is then flipped back."""
    files = [file for file in files_of(archive) if file.stat().st_size]
    file = chance.choices(files, [path.stat().st_size for path in files])[0]
    place, bit = chance.randrange(file.stat().st_size), 1 << chance.randrange(8)
    _flip(file, place, bit)
    try:
        return bool(verify_archive(archive))
    except HarnessError:  # such as that it is of no known format any more
        return True
    finally:
        _flip(file, place, bit)


def _flip(path: Path, place: int, bit: int) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        (byte,) = file.read(1)
        file.seek(place)
        file.write(bytes([byte ^ bit]))
