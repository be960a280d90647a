"""Row values of a sample: sizes of writes, counts and times of reads."""

from __future__ import annotations

from typing import Any

from harness.sampling.parallel_sample import PERCENTILES
from harness.sampling.sample import Reading
from harness.sampling.writing import Written


def sizes_of(written: Written) -> dict[str, Any]:
    return {
        "bytes_requested": written.memory_bytes,
        "verified": True,
        "size_bytes": written.size_bytes,
        "files": written.files,
        "native_bytes": written.native_bytes,
    }


def counts_of(reading: Reading) -> dict[str, Any]:
    names = ("bytes_returned", "bytes_read", "requests", "retries", "peak_rss_bytes")
    return {name: getattr(reading, name) for name in names}


def times_of(reading: Reading) -> dict[str, Any]:
    """Return all times of a reading; latencies and the times of workers are empty for the main thread."""
    names = [f"latency_p{percentile}_seconds" for percentile in PERCENTILES]
    return {
        "seconds": reading.seconds,
        "open_seconds": reading.open_seconds,
        "cpu_seconds": reading.cpu_seconds,
        "worker_seconds": " ".join(f"{seconds:.9f}" for seconds in reading.worker_seconds),
        **dict(zip(names, reading.latencies or (), strict=False)),
    }
