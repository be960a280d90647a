"""The example archives of docs/complexes.md, one in each format: ``python -m benchmarks.examples``."""

from __future__ import annotations

import shutil
from pathlib import Path

from harness.formats.archive import write_archive
from harness.formats.base import load_format
from harness.trace.sources import open_trace

FOLDER = Path(__file__).parents[1] / "examples"
TRACE, TOKENS = (
    "synthetic:model=af3,layers=1,heads=2,single_dim=16,pair_dim=8,steps=2,diffusion_layers=1,diffusion_dim=16,samples=2",
    24,
)
FORMATS = ("npz", "hdf5", "zarr", "zarr-slim")


def path_of(name: str) -> Path:
    """Return the path of the example in a format."""
    return FOLDER / f"complex{load_format(name).suffix}"


if __name__ == "__main__":
    for name in FORMATS:
        path = path_of(name)
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        write_archive(open_trace(TRACE, TOKENS), load_format(name), path)
        print(path)
