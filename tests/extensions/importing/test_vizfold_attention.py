"""VizFold's attention files: every listed entry comes back as printed, what is not listed is not there."""

from __future__ import annotations

import re

import numpy as np
import pytest

from harness.trace.schema import Role
from tests.outputs import N, attention, attention_folder, attention_text, npz_of


def listed(text: str) -> list[list[tuple[int, int, str]]]:
    """The entries of a file, head by head, read apart from the library."""
    heads = re.split(r"Layer \d+, Head \d+\n", text)[1:]
    return [[(int(i), int(j), w) for i, j, w in (line.split() for line in head.splitlines())] for head in heads]


def entries(found: dict[str, np.ndarray], place: str) -> list[list[tuple[int, int, float]]]:
    row, column, weight = (found[f"attention_topk/{place}/{name}"].tolist() for name in ("row", "column", "weight"))
    return [list(zip(*head, strict=True)) for head in zip(row, column, weight, strict=True)]


def test_a_folder_comes_back_as_lists_and_as_maps(tmp_path, bring):
    folder, maps = attention_folder(tmp_path / "attention")
    (folder / "notes.md").write_text("mine")
    found, manifest = bring(folder)
    assert {spec.path for spec in manifest.with_role(Role.ATTENTION)} == {f"attention/{place}" for place in maps}
    assert len(manifest.with_role(Role.ATTENTION_TOPK)) == 3 * len(maps)
    for place, array in maps.items():
        assert found[f"attention/{place}"].tobytes() == array.tobytes()
        kind, _, layer = place.partition("/layer_")
        residue = {"msa_row": "", "triangle_start_mean": "_residue_idx_avg"}.get(kind, "_residue_idx_7")
        stem = "msa_row" if kind == "msa_row" else "triangle_start"
        text = (folder / f"{stem}_attn_layer{layer}{residue}.txt").read_text()
        expected = [[(i, j, float(w)) for i, j, w in head] for head in listed(text)]
        assert entries(found, place) == expected
        assert len(expected) == len(array) and {len(head) for head in expected} == {20}
    assert "6 decimals" in manifest.provenance.note and "not zero" in manifest.provenance.note
    assert "notes.md" in manifest.provenance.note and len(manifest.provenance.files) == 12
    assert manifest.metadata.num_residues == N and manifest.provenance.trained is None
    layers = [spec.layer for spec in manifest.with_role(Role.ATTENTION) if "msa_row" in spec.path]
    assert layers == [9, 10]


def test_text_alone_says_nothing_of_how_many_residues_there_are(tmp_path, bring):
    path = attention_text(tmp_path / "msa_row_attn_layer0.txt", 0, attention(1), k=2)
    found, manifest = bring(path)
    assert manifest.metadata.num_residues is None
    assert found["attention_topk/msa_row/layer_0/weight"].shape == (3, 2)


def test_a_name_that_says_no_kind_leaves_the_layer_of_the_text(tmp_path, bring):
    path = attention_text(tmp_path / "mine.txt", 4, attention(1))
    found, _ = bring(path)
    assert set(found) == {f"attention_topk/layer_4/{name}" for name in ("row", "column", "weight")}


TEXT = "Layer 0, Head 0\n3 4 0.500000\n1 2 0.250000\nLayer 0, Head 1\n0 0 1.000000\n5 5 0.000000\n"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (TEXT.replace("1 2 0.250000", "1 2"), ["line 3", "'1 2'"]),
        (TEXT.replace("1 2 0.25", "1 x 0.25"), ["line 3", "'1 x 0.250000'"]),
        (TEXT.replace("1 2 0.25", "-1 2 0.25"), ["line 3"]),
        (TEXT.replace("0.250000", "nan"), ["line 3", "'1 2 nan'"]),
        (TEXT.replace("1 2 0.25", "1 2 3 0.25"), ["line 3"]),
        (TEXT.replace("1 2", "1.0 2"), ["line 3"]),
        (TEXT.replace("1 2", "99999999999 2"), ["line 3"]),
        (TEXT.replace("1 2", "3 4"), ["line 3", "3 4 again"]),
        (TEXT.replace("0.250000\n", "0.250000\n\n"), ["line 4", "''"]),
        (TEXT.replace("Head 1", "Head 2"), ["line 4", "head 1 next, found head 2"]),
        (TEXT.replace("Layer 0, Head 1", "Layer 1, Head 1"), ["line 4", "found layer 1"]),
        (TEXT.replace("Layer 0", "layer 0"), ["line 1"]),
        (TEXT.partition("\n")[2], ["line 1", "before the first entry"]),
        (TEXT[:-3], ["line 6", "6 decimals as above, found 4"]),
        (TEXT[:-14], ["truncated or incomplete", "head 1 lists 1 entries, head 0 2"]),
        (TEXT + "Layer 0, Head 2\n", ["head 2 lists 0 entries"]),
        ("Layer 0, Head 0\n", ["truncated or incomplete"]),
        (TEXT.replace("1 2", "1 \x002"), ["line 3"]),
        ("\n", ["line 1"]),
        (TEXT.replace("Layer 0", "Layer 3"), ["says layer 3 inside, and layer 0 in its name"]),
    ],
)
def test_a_broken_text_is_named_with_its_line(tmp_path, refused, text, parts):
    path = tmp_path / "msa_row_attn_layer0.txt"
    path.write_bytes(text.encode())
    refused(path, 1, "msa_row_attn_layer0.txt", *parts)


def test_bytes_that_are_no_text_are_named_with_their_line(tmp_path, refused):
    path = tmp_path / "msa_row_attn_layer0.txt"
    path.write_bytes(TEXT.encode().replace(b"1 2", b"1 \xff"))
    refused(path, 1, "line 3: expected text, found the byte 0xff")


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (npz_of(attn=attention(1))[:-40], ["truncated or damaged"]),
        (npz_of(attn=attention(1)).replace(b"\x93NUMPY", b"\x93NUMPX"), ["truncated or damaged"]),
        (npz_of(other=attention(1)), ["holds no array 'attn'"]),
        (npz_of(attn=attention(1)[0]), ["expected one axis name for each of 2 axes"]),
        (npz_of(attn=attention(1)[None]), ["expected one axis name for each of 4 axes"]),
        (npz_of(attn=attention(1)[:, :4]), ["expected 4 residues"]),
        (npz_of(attn=attention(1).astype("complex64")), ["holds complex64"]),
        (npz_of(attn=np.ones((2, 3, 3), int)), ["holds int64 where attention weights"]),
        (npz_of(attn=np.array([[[{}]]], object)), ["holds object"]),
        (b"not a zip", ["truncated or damaged"]),
    ],
)
def test_a_broken_npz_is_refused(tmp_path, refused, content, parts):
    path = tmp_path / "msa_row_attn_layer0.npz"
    path.write_bytes(content)
    refused(path, 1, "msa_row_attn_layer0.npz", *parts)


def test_flipped_bits_in_an_npz_are_found(tmp_path, refused):
    data = bytearray(npz_of(attn=attention(1)))
    data[len(data) // 2] ^= 4
    path = tmp_path / "msa_row_attn_layer0.npz"
    path.write_bytes(data)
    refused(path, 1, "msa_row_attn_layer0.npz", "truncated or damaged", "Bad CRC-32")


def test_files_that_disagree_are_refused(tmp_path, refused):
    folder, _ = attention_folder(tmp_path / "attention")
    attention_text(folder / "msa_row_attn_layer10.txt", 10, attention(1, heads=2))
    refused(folder, 1, "has 2 heads, ", "one of the two is truncated")
    np.savez(folder / "msa_row_attn_layer9.npz", attn=attention(1, n=N + 1))
    attention_text(folder / "msa_row_attn_layer10.txt", 10, attention(1))
    refused(folder, 1, "residues along axis 'residue'")
    np.savez(folder / "msa_row_attn_layer9.npz", attn=attention(1))
    np.savez(folder / "msa_row_attn_layer09.npz", attn=attention(1))
    refused(folder, 1, "attention/msa_row/layer_9 is also in", "remove one of the two")


def test_the_real_text_is_the_real_maps_at_its_printed_precision(real_data, bring):
    found, manifest = bring(real_data / "vizfold_attention")
    places = {path.removeprefix("attention/") for path in found if path.startswith("attention/")}
    assert len(places) == 4 and manifest.metadata.num_residues == 76
    compared = 0
    for place in places:
        dense = found[f"attention/{place}"]
        for head, rows in enumerate(entries(found, place)):
            assert [f"{dense[head, i, j]:.6f}" for i, j, _ in rows] == [f"{weight:.6f}" for _, _, weight in rows]
            unlisted = np.ones(dense.shape[1:], bool)
            unlisted[[i for i, _, _ in rows], [j for _, j, _ in rows]] = False
            assert dense[head][unlisted].max() <= min(dense[head, i, j] for i, j, _ in rows)
            assert dense[head][unlisted].min() > 0  # absent, and not zero
            compared += len(rows)
    assert compared == 12000
