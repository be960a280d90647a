"""Manifests of captures: what a reader must know of frames, for a chain and for a complex alike."""

from __future__ import annotations

import pytest

from harness.extensions.capture.describe import complex_manifest, describe
from harness.trace.chains import protein_chains
from tests.extensions.capture.fake import FACTS, query, settings


def note_of(attention: tuple[str, ...], *, of_complex: bool) -> str:
    chosen = settings(attention=attention)
    if not of_complex:
        return describe(FACTS, "UNTRAINED", False, chosen, query(), ()).provenance.note or ""
    manifest = complex_manifest(
        name="Fake",
        version="1",
        config="none",
        heads=1,
        hidden=1,
        notes=("UNTRAINED",),
        trained=False,
        settings=chosen,
        seeds=(0,),
        title="q",
        tensors=(),
        chains=protein_chains(["AC", "GG"]),
    )
    return manifest.provenance.note or ""


@pytest.mark.parametrize("of_complex", [True, False])
def test_maps_of_the_ending_node_are_said_to_be_transposed(of_complex):
    said = "triangle_end maps are in the transposed frame"
    assert said in note_of(("triangle-end",), of_complex=of_complex)
    assert said not in note_of(("triangle-start",), of_complex=of_complex)


def test_steps_of_a_complex_are_said_to_be_in_frames_of_their_own():
    note = note_of((), of_complex=True)
    assert "each diffusion step is in a frame of its own" in note and "that of the last step" in note
