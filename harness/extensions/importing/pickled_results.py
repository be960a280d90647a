"""Content of pickled results of AlphaFold2, ColabFold and OpenFold; their different names map to the same places."""

from __future__ import annotations

from math import prod
from pathlib import Path

from harness.errors import UsageError
from harness.extensions.importing.file_contents import FileContent, flat_items
from harness.extensions.importing.output_files import places
from harness.files import WHOLE
from harness.foreign import pickles
from harness.foreign.packed import read_packed
from harness.foreign.plain_values import as_foreign
from harness.foreign.source import ForeignArray, readable

# Places and axes of the items of AlphaFold2 (alphafold/model/model.py and modules.py) and of OpenFold
# (openfold/model/model.py and heads.py). Different names for the same item map to the same place.
PICKLED = places(
    ("structure/atom_positions", "residue atom xyz", "structure_module/final_atom_positions final_atom_positions"),
    ("structure/atom_mask", "residue atom", "structure_module/final_atom_mask final_atom_mask"),
    ("structure/final_frames", "residue frame", "final_affine_tensor"),
    ("structure/final_frames", "residue row column", "final_affine_tensor"),  # of OpenFold's multimer, 4 by 4
    ("structure/trajectory_positions", "block residue atom14 xyz", "sm/positions"),
    ("structure/trajectory_frames", "block residue frame", "sm/frames"),
    ("structure/trajectory_frames", "block residue row column", "sm/frames"),
    ("structure/ptm", "", "ptm ptm_score"),
    ("outputs/iptm", "", "iptm iptm_score"),
    ("outputs/confidence_scores", "residue", "plddt"),
    ("outputs/predicted_aligned_error", "residue residue", "predicted_aligned_error"),
    ("outputs/max_predicted_aligned_error", "", "max_predicted_aligned_error"),
    ("outputs/aligned_confidence_probs", "residue residue bin", "aligned_confidence_probs"),
    ("outputs/ranking_confidence", "", "ranking_confidence"),
    ("outputs/distogram_logits", "residue residue bin", "distogram/logits distogram_logits"),
    ("outputs/distogram_bin_edges", "bin_edge", "distogram/bin_edges"),
    ("outputs/masked_msa_logits", "sequence residue class", "masked_msa/logits masked_msa_logits"),
    (
        "outputs/experimentally_resolved_logits",
        "residue atom",
        "experimentally_resolved/logits experimentally_resolved_logits",
    ),
    ("outputs/predicted_lddt_logits", "residue bin", "predicted_lddt/logits lddt_logits"),
    ("outputs/tm_logits", "residue residue bin", "tm_logits"),
    ("activations/final/single_repr", "residue channel", "representations/single single"),
    ("activations/final/pair_repr", "residue residue pair_channel", "representations/pair pair"),
    ("activations/final/msa_repr", "sequence residue msa_channel", "representations/msa msa"),
    ("activations/final/msa_first_row", "residue msa_channel", "representations/msa_first_row"),
    ("activations/structure_module/single_repr", "residue channel", "representations/structure_module sm/single"),
)


def read_pickle(path: Path) -> FileContent:
    """Read the arrays of a pickled result, packed or not, by an allow-list: no code in the pickle runs.

    Raises
    ------
    UsageError
        If it is a pickle of something else.
    SourceError
        If it is truncated or damaged, or requests an object that no array needs.
    """
    content = FileContent()
    with readable(path):
        packed = read_packed(path, WHOLE)
        items = dict(flat_items(pickles.load(packed.data)))
    if not items.keys() & PICKLED.keys():
        raise UsageError(
            f"{path} is a pickle, but not of a prediction of AlphaFold2, ColabFold or OpenFold: it holds none of "
            "their outputs, such as plddt."
        )
    content.note_packed(packed)
    for keys in packed.dropped:
        name = "/".join(keys)
        for inside in [each for each in items if each == name or each.startswith(f"{name}/")]:
            del items[inside]
            content.left.append(("dropped when its directory was slimmed", inside))
    recycles = as_foreign(items.get("num_recycles"))
    if (
        isinstance(recycles, ForeignArray)
        and prod(recycles.shape) == 1
        and "int" in getattr(recycles.dtype, "name", "")
    ):
        del items["num_recycles"]
        content.facts["num_recycles"] = int(recycles.load().reshape(()))
    chains = items.get("seqs")  # from AlphaPulldown: the sequences of the chains
    if isinstance(chains, list) and chains and all(isinstance(chain, str) and chain.isascii() for chain in chains):
        del items["seqs"]
        content.facts["sequences"] = tuple(chains)
        content.notes.append(f"chains of {', '.join(str(len(chain)) for chain in chains)} residues")
    for name, value in items.items():
        content.take(name, as_foreign(value))
    return content
