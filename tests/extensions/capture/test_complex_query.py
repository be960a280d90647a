"""Queries of complexes: chains and ligands as OpenFold3 has them, and one sentence for what cannot be captured."""

from __future__ import annotations

import json

import pytest

from harness.cli import main
from harness.errors import UsageError
from harness.extensions.capture.complex_query import read_complex
from harness.extensions.capture.plan import layer_bytes
from harness.trace.schema import tensor

PROTEIN = {"molecule_type": "protein", "chain_ids": ["A", "B"], "sequence": "ACDE"}
LIGAND = {"molecule_type": "ligand", "chain_ids": "C", "ccd_codes": "atp"}


def written(tmp_path, *chains, **more):
    path = tmp_path / "query.json"
    path.write_text(json.dumps({"queries": {"q": {"chains": list(chains)}}, **more}))
    return path


def test_copies_share_an_entity_and_letters_are_components(tmp_path):
    dna = {"molecule_type": "DNA", "chain_ids": ["D"], "sequence": "ACGT"}
    query = read_complex(written(tmp_path, PROTEIN, LIGAND, dna, seeds=[3, 4]))
    assert [(chain.name, chain.entity, chain.kind) for chain in query.chains] == [
        ("A", "1", "protein"), ("B", "1", "protein"), ("C", "2", "ligand"), ("D", "3", "dna")
    ]  # fmt: skip
    assert query.chains[0].components == ("ALA", "CYS", "ASP", "GLU")
    assert query.chains[2].components == ("ATP",) and query.chains[3].components == ("DA", "DC", "DG", "DT")
    assert query.seeds == (3, 4) and query.name == "q"


@pytest.mark.parametrize(
    ("chains", "said"),
    [
        ((PROTEIN, {**LIGAND, "chain_ids": "A"}), "names the chain 'A' twice"),
        (({**PROTEIN, "sequence": "AC1"},), "'1' in the chain A is no residue of protein"),
        (({**PROTEIN, "molecule_type": "sugar"},), "'sugar' is no type of molecule"),
        (({**LIGAND, "smiles": "CCO"},), "smiles"),
        (({**LIGAND, "ccd_codes": ["ATP", "MG"]},), "needs one code in ccd_codes"),
        (({"molecule_type": "protein", "chain_ids": "A"},), "needs a sequence"),
        ((), "has no chain"),
    ],
)
def test_what_cannot_be_captured_is_named(tmp_path, chains, said):
    with pytest.raises(UsageError, match=said):
        read_complex(written(tmp_path, *chains))


def test_a_file_that_is_no_query_or_holds_several_is_refused(tmp_path):
    path = tmp_path / "query.json"
    for text, said in (
        ("[]", "no query"),
        ('{"queries": {"a": {"chains": []}, "b": {"chains": []}}}', "2 queries"),
        ("{", "no query"),
    ):
        path.write_text(text)
        with pytest.raises(UsageError, match=said):
            read_complex(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_complex(tmp_path / "absent.json")


def test_a_query_that_asks_for_alignments_or_very_many_seeds_is_refused(tmp_path):
    path = written(tmp_path, PROTEIN, seeds=list(range(1001)))
    with pytest.raises(UsageError, match=r"no query .* length <= 1000 .*seeds"):
        read_complex(path)
    assert len(read_complex(written(tmp_path, PROTEIN, seeds=list(range(1000)))).seeds) == 1000
    path.write_text(json.dumps({"queries": {"q": {"chains": [PROTEIN], "use_msas": True}}}))
    with pytest.raises(UsageError, match=r"asks for alignments \(use_msas\), which are not supported: set it to false"):
        read_complex(path)
    path.write_text(json.dumps({"queries": {"q": {"chains": [PROTEIN], "use_msas": False}}}))
    assert len(read_complex(path).chains) == 2


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ("0-9999999999", "--seeds takes up to 50,000 numbers, got 10,000,000,000"),
        ("0-999999999999999999", "--seeds takes up to 50,000 numbers"),
        ("5-4", "such as 0,4-7, got '5-4'"),
        ("9" * 5000, "such as 0,4-7, got '9999"),
    ],
)
def test_ranges_are_counted_before_they_are_listed(numbers, said, tmp_path, capsys):
    model = "tests.extensions.capture.fake:model"
    argv = ["capture", "--model", model, "--to", f"npz:{tmp_path / 'a.npz'}", "--seeds", numbers]
    assert main([*argv, "--query", str(written(tmp_path, PROTEIN))]) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert said in error and "Traceback" not in error


def test_options_of_a_complex_need_a_query(tmp_path, capsys):
    fasta = tmp_path / "a.fasta"
    fasta.write_text(">a\nACDE\n")
    model = "tests.extensions.capture.fake:model"
    argv = ["capture", "--model", model, "--to", f"npz:{tmp_path / 'a.npz'}"]
    assert main([*argv, "--fasta", str(fasta), "--samples", "2"]) == 2
    assert "give --query" in capsys.readouterr().err
    assert main([*argv, "--query", str(written(tmp_path, PROTEIN))]) == 2
    assert "takes one chain: give --fasta" in capsys.readouterr().err
    assert main([*argv, "--query", str(written(tmp_path, PROTEIN)), "--fasta", str(fasta)]) == 2


def test_layers_of_a_step_are_counted_apart_from_those_of_others():
    specs = [tensor(f"diffusion/step_{k}/layer_0/token_repr", (10,), axes=("token",)) for k in range(5)]
    assert layer_bytes(specs) == 40
    assert layer_bytes([tensor("single/layer_0", (10, 2)), tensor("pair/layer_0", (10, 10, 2)), *specs]) == 880
