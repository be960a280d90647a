"""The fairness ledger: what each format was set to, whether that was a default or a choice, and why."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from harness.backends.base import Backend, UnsupportedProfile, load_backend
from harness.measure.config import RAW, RunConfig
from harness.stores.place import Place
from harness.trace.schema import Manifest

LEDGER_COLUMNS = [
    "trace", "n_res", "format", "profile", "role", "example", "shape", "chunks", "shards", "codec", "origin", "why",
    "versions", "threads", "caches",
]  # fmt: skip


def ledger(manifests: Sequence[tuple[str, Manifest]], config: RunConfig) -> pd.DataFrame:
    """List the settings of every format for every role of tensor.

    Parameters
    ----------
    manifests : sequence of (str, Manifest)
        Label and manifest of each trace of the run.
    config : RunConfig
        Of the run: its formats, to which the raw ceiling is added, and its profiles.

    Returns
    -------
    DataFrame
        Columns `LEDGER_COLUMNS`; a profile that a format cannot take has one row that says why.
    """
    rows = []
    for label, manifest in manifests:
        examples = {spec.role: spec for spec in reversed(manifest.tensors)}
        for name in (*config.formats, RAW):
            backend = load_backend(name)
            for column, profile in config.profiles_of(backend).items():
                for role, spec in sorted(examples.items()):
                    common = {
                        "trace": label,
                        "n_res": manifest.metadata.num_residues,
                        "format": backend.name,
                        "profile": column,
                    }
                    try:
                        layout = backend.layout(spec, profile)
                    except UnsupportedProfile as error:
                        rows.append({**common, "origin": "skipped", "why": str(error)})
                        break
                    rows.append(
                        {
                            **common,
                            "role": role.value,
                            "example": spec.path,
                            "shape": _shape(spec.shape),
                            "chunks": _shape(layout.chunks) if layout.chunks else "contiguous",
                            "shards": _shape(layout.shards) if layout.shards else "",
                            "codec": str(layout.codec) if layout.codec else "none",
                            "origin": layout.origin,
                            "why": layout.why,
                            **_settings(backend.configured(profile), config.store),
                        }
                    )
    return pd.DataFrame(rows, columns=LEDGER_COLUMNS)


def _settings(backend: Backend, store: Place | None) -> dict[str, str]:
    """Return what applies to every tensor; of reads from a store, which, and what keeps what was read."""
    settings = backend.settings()
    if store is not None:
        settings["caches"] = f"{backend.remote_caches(store.describe_cache())}; read from {store.describe()}"
    return settings


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"
