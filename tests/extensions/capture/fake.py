"""A model made of plain functions, for what a capture does apart from any model."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from harness.extensions.capture.describe import Facts, describe, input_tensors
from harness.extensions.capture.inputs import Query
from harness.extensions.capture.models import ModelKind
from harness.extensions.capture.plan import (
    AttentionKind,
    CaptureSettings,
    end_sites,
    pair_site,
    trunk_tensors,
)
from harness.extensions.capture.session import PreparedModel, Push
from harness.trace.manifest import Manifest

KINDS = (AttentionKind("row", 3, "sequence"), AttentionKind("triangle", 2, "residue"), AttentionKind("once", 2, "none"))
NAMES = tuple(kind.name for kind in KINDS)
FACTS = Facts(
    name="Fake",
    version="1",
    config="no layers at all",
    heads=3,
    hidden=6,
    libraries=f"numpy {np.__version__}",
    remark="numbers are drawn",
)


def settings(**changes: object) -> CaptureSettings:
    """Settings of a small capture, changed by keyword."""
    return CaptureSettings(**{"blocks": 3, "recycles": 1, "msa_depth": 4, "attention": NAMES, **changes})  # type: ignore[arg-type]


def query(sequence: str = "ACDEFGH") -> Query:
    """A chain and an alignment of itself."""
    row = np.frombuffer(sequence.encode(), np.uint8)
    return Query(name="q", sequence=sequence, msa=row[None], deletions=np.zeros((1, len(row)), np.int32), files=())


class FakeModel(PreparedModel):
    """Gives numbers that depend on nothing but the seed; `before` is called in front of every tensor."""

    def __init__(self, settings: CaptureSettings, query: Query, before: Callable[[str], None] = lambda _: None) -> None:
        self._seed, self._before, n = settings.seed, before, query.residues
        sites = [site for kind in KINDS for site in kind.sites(settings, n)] + [pair_site(n, 5)]
        self._inputs = input_tensors(query)
        self.manifest: Manifest = describe(
            FACTS,
            "UNTRAINED",
            False,
            settings,
            query,
            [*self._inputs, *trunk_tensors(settings, sites, end_sites(n, 6, 5))],
        )

    def values(self) -> Iterator[tuple[str, np.ndarray]]:
        """Every tensor, in order."""
        rng = np.random.default_rng(self._seed)
        given = {spec.path: array for spec, array in self._inputs.items()}
        for spec in self.manifest.tensors:
            drawn = rng.normal(size=spec.shape).astype(np.float32)
            yield spec.path, given.get(spec.path, drawn)

    def run(self, push: Push) -> None:
        for path, array in self.values():
            self._before(path)
            push(path, array)


def _kind(load: Callable[[CaptureSettings, Query], PreparedModel], **changes: object) -> ModelKind:
    values = {"name": "fake", "description": "", "blocks": 3, "attention": NAMES, "load": load, **changes}
    return ModelKind(**values)  # type: ignore[arg-type]


def _waits(settings: CaptureSettings, query: Query) -> FakeModel:
    """A model that says where it is, and goes on only when it is interrupted."""

    def before(path: str) -> None:
        if path == "pair/layer_1":
            Path("waiting").touch()
            threading.Event().wait()

    return FakeModel(settings, query, before)


model = _kind(FakeModel)
waiting = _kind(_waits)
sourced = _kind(FakeModel, sourced=True)
lacking = _kind(FakeModel, missing=lambda: "needs the package 'nothing': pip install nothing")
