"""Cost of one large tensor in every format and role: processor time, peak memory, size.

``python -m benchmarks.large_tensor [--shape 1500x1500x64] [--formats ...] [--roles ...] [--profile tuned]``. Steps run
one after the other, each in its own process. Figures are the processor time of the step and the peak memory of its
process, libraries included. Values are generated block by block, so that the source holds no complete tensor either.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from harness import registry
from harness.formats.archive import archive_size, open_archive, verify_archive, write_archive
from harness.formats.archive_trace import ArchiveTrace
from harness.formats.base import PROFILES, load_format
from harness.trace.manifest import Manifest, Provenance
from harness.trace.schema import TensorSpec, tensor
from harness.trace.stream import Trace, block_rows

ROLES = {
    "output": "outputs/distogram_logits",
    "activation": "activations/layer_0/triangle_update",
    "recycle": "recycle/step_0/pair_update",
    "msa": "activations/layer_0/msa_repr",
    "custom": "embeddings/language_model",
}
STEPS = ("write", "verify", "stream", "windows")
_WINDOWS, _EDGE = 16, 32


class MadeTrace(Trace):
    """A trace of one tensor, noise on a smooth surface, generated from row numbers each time it is streamed."""

    def __init__(self, spec: TensorSpec) -> None:
        self.label = "made"
        self.manifest = Manifest(tensors=(spec,), provenance=Provenance(source="made for a measurement", seed=0))

    def blocks(self, path: str) -> Iterator[np.ndarray]:
        spec = self.manifest[path]
        step = block_rows(spec.shape, 4)
        for start in range(0, spec.shape[0], step):
            shape = (min(step, spec.shape[0] - start), *spec.shape[1:])
            values = np.random.default_rng(start).standard_normal(shape, np.float32)
            values += np.arange(shape[-1], dtype=np.float32)
            # Keep 11 of 23 bits of the mantissa: about the noise in a model's values that no codec can remove.
            yield (values.view(np.uint32) & np.uint32(0xFFFFF000)).view(np.float32)


def peak_bytes() -> int:
    """Return the peak memory of this process in bytes, without that of a program that ran in it before."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


def stream(path: Path, spec: TensorSpec) -> None:
    """Read a tensor as a conversion does."""
    for _ in ArchiveTrace(path).blocks(spec.path):
        pass


def windows(path: Path, spec: TensorSpec) -> None:
    """Read windows along the first two axes, as a viewer does."""
    rng = np.random.default_rng(1)
    with open_archive(path) as (_, reader, _):
        for _ in range(_WINDOWS):
            starts = [int(rng.integers(0, max(1, n - _EDGE))) for n in spec.shape[:2]]
            near = tuple(slice(start, min(start + _EDGE, n)) for start, n in zip(starts, spec.shape, strict=False))
            reader.read(spec.path, (*near, *(slice(0, n) for n in spec.shape[2:])))


def step(name: str, format_: str, spec: TensorSpec, profile: str, path: Path) -> dict[str, float]:
    """Run one step in this process and return its figures."""
    backend = load_format(format_)
    chosen = next(known for known in PROFILES if known == profile)

    def verify() -> None:
        if problems := verify_archive(path, backend):
            raise SystemExit(problems[0])

    work: dict[str, Callable[[], object]] = {
        "write": lambda: write_archive(MadeTrace(spec), backend, path, chosen),
        "verify": verify,
        "stream": lambda: stream(path, spec),
        "windows": lambda: windows(path, spec),
    }
    before = time.process_time()
    work[name]()
    return {"cpu": time.process_time() - before, "peak": peak_bytes(), "size": archive_size(path)[0]}


def in_child(arguments: list[str], limit: float) -> dict[str, float] | str:
    """Run one step in its own process; return its figures, or a sentence if it failed or took too long."""
    command = [sys.executable, "-m", "benchmarks.large_tensor", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return f"not finished in {limit:.0f} s"
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["did not end"])[-1][:90]
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def main(argv: list[str] | None = None) -> int:
    """Print one line for each format and role."""
    names = [row.name for row in registry.listing("formats") if not row.missing]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", default="1500x1500x64")
    parser.add_argument("--formats", nargs="+", default=names, choices=names)
    parser.add_argument("--roles", nargs="+", default=list(ROLES), choices=list(ROLES))
    parser.add_argument("--profile", default="tuned", choices=PROFILES)
    parser.add_argument("--folder", type=Path, default=Path(), help="where archives are written and removed again")
    parser.add_argument("--limit", type=float, default=300, help="seconds that a step may take")
    parser.add_argument("--step", nargs=2, metavar=("STEP", "ARCHIVE"), help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    shape = tuple(int(n) for n in options.shape.split("x"))
    if options.step:
        spec = tensor(ROLES[options.roles[0]], shape)
        print(json.dumps(step(options.step[0], options.formats[0], spec, options.profile, Path(options.step[1]))))
        return 0
    megabytes = int(np.prod(shape)) * 4 / 1e6
    print(f"{options.shape} float32, {megabytes:.0f} MB, {options.profile}: processor seconds / peak MB")
    print(f"{'format':15s} {'role':10s}" + "".join(f" {name:>16s}" for name in STEPS) + f" {'size MB':>9s}")
    complete = True
    for format_ in options.formats:
        for role in options.roles:
            common = ["--shape", options.shape, "--formats", format_, "--roles", role, "--profile", options.profile]
            texts, size = measured(common, options.folder, load_format(format_).suffix, options.limit)
            complete &= size is not None
            line = f"{format_:15s} {role:10s}" + "".join(f" {text:>16s}" for text in texts)
            print(line + (f" {size / 1e6:9.1f}" if size is not None else ""), flush=True)
    return 0 if complete else 1


def measured(common: list[str], folder: Path, suffix: str, limit: float) -> tuple[list[str], float | None]:
    """Write, read and remove one archive; return the cost of each step, and the size if every step was completed."""
    texts: list[str] = []
    size = None
    with tempfile.TemporaryDirectory(dir=folder, prefix=".large-") as name:
        path = Path(name) / f"a{suffix}"
        for step_ in STEPS:
            found = in_child([*common, "--step", step_, str(path)], limit)
            if isinstance(found, str):
                return [*texts, found], None
            texts.append(f"{found['cpu']:.1f} / {found['peak'] / 1e6:.0f}")
            size = found["size"]
    return texts, size


if __name__ == "__main__":
    sys.exit(main())
