"""OpenFold 2: the complete model of AlphaFold2, run from a checkout with its own features."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import numpy as np
import torch

from harness.extensions.capture.describe import Facts
from harness.extensions.capture.inputs import Query
from harness.extensions.capture.openfold_source import Code, import_openfold
from harness.extensions.capture.plan import CaptureSettings
from harness.extensions.capture.prepared import Results, TorchModel
from harness.extensions.capture.trunk import Trunk, copied, evoformer_trunk
from harness.extensions.capture.weights import Checkpoint, seed_everything
from harness.trace.schema import tensor

_ATOMS = 37


def load(settings: CaptureSettings, query: Query) -> PreparedOpenFold:
    """Return the prepared model; see `harness.extensions.capture.models.ModelKind.open`."""
    return PreparedOpenFold(settings, query)


class PreparedOpenFold(TorchModel):
    """OpenFold with its weights and its features."""

    def build(self, checkpoint: Checkpoint | None) -> torch.nn.Module:
        assert self.settings.source is not None, "the command asks for it"
        self._code, self._name = import_openfold(self.settings.source), config_name(checkpoint)
        self._config = configure(self._code, self._name, self.settings, len(self.query.msa))
        seed_everything(self.settings.seed)
        model: torch.nn.Module = self._code.model.AlphaFold(self._config)
        return model

    def renamed(self, checkpoint: Checkpoint) -> Checkpoint:
        """Convert parameter names of an older OpenFold to the current names, unless they match already."""
        convert = getattr(self._code.weights, "convert_deprecated_v1_keys", None)
        if convert is None or checkpoint.state.keys() == self.model.state_dict().keys():
            return checkpoint
        return checkpoint._replace(state=convert(checkpoint.state))

    def features(self) -> dict[str, torch.Tensor]:
        return features(self._code, self._config, self.query)

    def places(self) -> Trunk:
        stack = self._config.model.evoformer_stack
        return evoformer_trunk(self.model.evoformer, self._code.primitives, stack, self.query.residues)

    def facts(self) -> Facts:
        stack, mode, rows = self._config.model.evoformer_stack, self._config.data.predict, len(self.query.msa)
        return Facts(
            name="OpenFold",
            version=self._code.version,
            config=f"{self._name} with {self.settings.blocks} blocks",
            heads=stack.no_heads_msa,
            hidden=stack.c_s,
            libraries=f"torch {torch.__version__}",
            remark=f"of {rows} rows, {mode.max_msa_clusters} are drawn for every pass and {mode.max_extra_msa} more "
            "for the extra stack, by OpenFold's own feature pipeline, which also masks letters; no templates",
        )

    def forward(self, features: dict[str, torch.Tensor]) -> dict[str, Any]:
        found: dict[str, Any] = self.model(features)
        return found

    def results(self) -> Results:
        """Return the outputs to keep: the structure with its trajectory, and the results of heads."""
        n, blocks = self.query.residues, self._config.model.structure_module.no_blocks
        pairs = ("residue", "residue", "bin")
        found: dict[str, tuple[tuple[int, ...], tuple[str, ...] | None, str]] = {
            "structure/trajectory_positions": ((blocks, n, 14, 3), ("block", "residue", "atom14", "xyz"), "positions"),
            "structure/trajectory_frames": ((blocks, n, 7), ("block", "residue", "frame"), "frames"),
            "structure/atom_positions": ((n, _ATOMS, 3), None, "final_atom_positions"),
            "structure/atom_mask": ((n, _ATOMS), None, "final_atom_mask"),
            "outputs/confidence_scores": ((n,), None, "plddt"),
            "outputs/distogram_logits": ((n, n, 64), pairs, "distogram_logits"),
        }
        if "ptm" in self._name:
            found["structure/ptm"] = ((), None, "ptm_score")
            found["outputs/predicted_aligned_error"] = ((n, n), pairs[:2], "predicted_aligned_error")

        def take(key: str, output: dict[str, Any]) -> np.ndarray:
            return copied(output["sm"][key] if key in ("positions", "frames") else output[key])

        return {tensor(path, shape, axes=axes): partial(take, key) for path, (shape, axes, key) in found.items()}


def config_name(checkpoint: Checkpoint | None) -> str:
    """Return the name of the configuration that has the same parts as a checkpoint.

    It is ``model_1`` with templates or ``model_3`` without them, each with ``_ptm`` if the checkpoint has that head.
    Without a checkpoint it is ``model_3_ptm``, which has few parts.
    """
    if checkpoint is None:
        return "model_3_ptm"
    templates = any("template" in name for name in checkpoint.state)
    ptm = any("aux_heads.tm." in name for name in checkpoint.state)
    return ("model_1" if templates else "model_3") + ("_ptm" if ptm else "")


def configure(code: Code, name: str, settings: CaptureSettings, rows: int) -> Any:
    """Return a preset of OpenFold's configuration, without anything that hides attention.

    Chunking and memory-efficient kernels are off; `rows` is the number of rows of the available alignment.
    """
    config = code.config.model_config(name)
    for option in config.globals:
        if option.startswith("use_") or option == "offload_inference":
            config.globals[option] = False
    config.globals.chunk_size = None
    config.model.evoformer_stack.no_blocks = settings.blocks
    for part in (config.model.evoformer_stack, config.model.extra_msa.extra_msa_stack):
        part.tune_chunk_size = False
    config.model.template.template_pair_stack.tune_chunk_size = False
    config.data.common.max_recycling_iters = settings.recycles
    mode = config.data.predict
    mode.max_msa_clusters = min(settings.msa_depth, rows)
    mode.max_extra_msa = min(mode.max_extra_msa, max(1, rows - mode.max_msa_clusters))
    return config


def features(code: Code, config: Any, query: Query) -> dict[str, torch.Tensor]:
    """Convert a query to OpenFold's features, with its own feature pipeline and without templates.

    The last axis counts the passes; for each pass, rows are drawn and letters masked.
    """
    constants, n = code.residues, query.residues
    numbers = np.full(256, constants.HHBLITS_AA_TO_ID["X"], np.int32)
    for letter, number in constants.HHBLITS_AA_TO_ID.items():
        numbers[ord(letter)] = number
    raw = {
        "aatype": constants.sequence_to_onehot(query.sequence, constants.restype_order_with_x, map_unknown_to_x=True),
        "between_segment_residues": np.zeros(n, np.int32),
        "residue_index": np.arange(n, dtype=np.int32),
        "seq_length": np.full(n, n, np.int32),
        "deletion_matrix_int": query.deletions,
        "msa": numbers[query.msa],
        "num_alignments": np.full(n, len(query.msa), np.int32),
        "template_aatype": np.zeros((0, n, 22), np.float32),
        "template_all_atom_mask": np.zeros((0, n, _ATOMS), np.float32),
        "template_all_atom_positions": np.zeros((0, n, _ATOMS, 3), np.float32),
        "template_sum_probs": np.zeros((0, 1), np.float32),
    }
    with warnings.catch_warnings(record=True):
        found: dict[str, torch.Tensor] = code.features.FeaturePipeline(config.data).process_features(raw, "predict")
    return found
