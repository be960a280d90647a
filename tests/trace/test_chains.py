"""Chains of a complex in a manifest: checked, kept in JSON, and left out where there are none."""

from __future__ import annotations

import pytest

from harness.trace.chains import Chain, protein_chains
from harness.trace.manifest import Intervention, Manifest, Provenance, validate
from harness.trace.schema import SchemaError, tensor

TOKENS = tensor("pair/layer_0", (5, 5, 2), axes=("token", "token", "channel"))


def manifest(*chains: Chain, **more) -> Manifest:
    return Manifest(tensors=(TOKENS,), provenance=Provenance(source="test", **more), chains=chains)


def chain(name: str, start: int, stop: int) -> Chain:
    return Chain(name=name, kind="protein", start=start, stop=stop)


@pytest.mark.parametrize(
    ("chains", "said"),
    [
        ((chain("A", 0, 3), chain("A", 3, 5)), "'A' is named twice"),
        ((chain("A", 0, 3), chain("B", 4, 5)), "from 3 on"),
        ((chain("A", 0, 3), chain("B", 2, 5)), "from 3 on"),
        ((chain("A", 0, 3), chain("B", 3, 3)), "at least one"),
        ((chain("A", 0, 4),), "The chains have 4 tokens, but tensors have 5"),
        ((chain("", 0, 5),), "has no name"),
    ],
)
def test_chains_that_do_not_fit_are_refused(chains, said):
    with pytest.raises(SchemaError, match=said):
        validate(manifest(*chains))


def test_chains_of_a_trace_without_tokens_are_of_residues():
    specs = (tensor("pair/layer_0", (5, 5, 2)),)
    validate(Manifest(tensors=specs, provenance=Provenance(source="test"), chains=protein_chains(["AC", "GGG"])))
    with pytest.raises(SchemaError, match="have 4 residues, but tensors have 5 along the axis 'residue'"):
        validate(Manifest(tensors=specs, provenance=Provenance(source="test"), chains=protein_chains(["ACGG"])))


def test_chains_are_named_by_letters_and_copies_share_an_entity():
    chains = protein_chains(["A"] * 27 + ["C"])
    assert [chains[k].name for k in (0, 25, 26, 27)] == ["A", "Z", "AA", "BB"]
    assert [chains[k].entity for k in (0, 26, 27)] == ["1", "1", "2"] and chains[27].start == 27


def test_chains_and_interventions_are_kept_and_absent_ones_take_no_place():
    patched = Intervention(tensor="pair/layer_0", change="zeroed at tokens 0 to 2", run="other.h5")
    full = manifest(chain("A", 0, 3), chain("B", 3, 5), interventions=(patched,))
    assert Manifest.from_json(full.to_json()) == full
    assert full.length == 5
    bare = manifest()
    assert "chains" not in bare.to_json() and "interventions" not in bare.to_json() and bare.length is None


@pytest.mark.parametrize("axis", ["token", "atom", "chain", "residue"])
def test_an_axis_that_counts_parts_of_a_complex_has_one_length(axis):
    specs = (tensor("outputs/a", (3,), axes=(axis,)), tensor("outputs/b", (4,), axes=(axis,)))
    with pytest.raises(SchemaError, match=f"outputs/b: expected 3 {axis}s along axis '{axis}'"):
        validate(Manifest(tensors=specs, provenance=Provenance(source="test"), chains=(chain("A", 0, 3),)))


def test_a_trace_without_chains_may_have_tokens_of_two_kinds():
    specs = (tensor("outputs/a", (3,), axes=("token",)), tensor("outputs/b", (4,), axes=("token",)))
    validate(Manifest(tensors=specs, provenance=Provenance(source="test")))
