"""OpenFold 2: AlphaFold2's whole model, run from a checkout with its own features."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import numpy as np
import torch

from harness.errors import UsageError
from harness.extensions.capture.describe import Facts, describe, input_tensors
from harness.extensions.capture.device import checked_device
from harness.extensions.capture.hooks import copied
from harness.extensions.capture.inputs import Query
from harness.extensions.capture.openfold_source import Code, import_openfold
from harness.extensions.capture.plan import CaptureSettings
from harness.extensions.capture.session import PreparedModel, Push
from harness.extensions.capture.trunk import evoformer_trunk
from harness.extensions.capture.weights import Checkpoint, read_checkpoint, seed_everything, set_weights
from harness.trace.schema import TensorSpec, tensor

_ATOMS = 37


def load(settings: CaptureSettings, query: Query) -> PreparedOpenFold:
    """Make OpenFold ready; see `harness.extensions.capture.models.ModelKind.open`."""
    return PreparedOpenFold(settings, query)


class PreparedOpenFold(PreparedModel):
    """OpenFold with its weights and its features."""

    def __init__(self, settings: CaptureSettings, query: Query) -> None:
        if settings.source is None:
            raise UsageError("OpenFold 2 is run from a checkout of its code: name it with --source DIR.")
        self._settings, self._query = settings, query
        self._device = checked_device(settings.device)
        code = import_openfold(settings.source)
        checkpoint = read_checkpoint(settings.checkpoint) if settings.checkpoint else None
        name = config_name(checkpoint)
        config = configure(code, name, settings, len(query.msa))
        seed_everything(settings.seed)
        self.model = code.model.AlphaFold(config).eval()
        weights = set_weights(self.model, _renamed(code, self.model, checkpoint), settings.seed)
        self.model.to(self._device)
        self._features = features(code, config, query, settings.seed)
        stack = config.model.evoformer_stack
        self.trunk = evoformer_trunk(self.model.evoformer, code.primitives, stack, query.residues)
        self._inputs = input_tensors(query)
        self._results = result_tensors(query.residues, config.model.structure_module.no_blocks, "ptm" in name)
        facts = Facts(
            name="OpenFold",
            version=code.version,
            config=f"{name} with {settings.blocks} blocks",
            heads=stack.no_heads_msa,
            hidden=stack.c_s,
            trained=weights.trained,
            weights=weights.note,
            versions={"torch": torch.__version__},
            remarks=(_drawn(config, len(query.msa)),),
        )
        tensors = [*self._inputs, *self.trunk.tensors(settings, query.residues), *self._results]
        self.manifest = describe(facts, settings, query, tensors)

    def compute(self) -> dict[str, Any]:
        """Run the model as it is and return its output."""
        batch = {name: value.to(self._device) for name, value in self._features.items()}
        with torch.no_grad(), warnings.catch_warnings(record=True):
            found: dict[str, Any] = self.model(batch)
        return found

    def run(self, push: Push) -> None:
        for spec, array in self._inputs.items():
            push(spec.path, array)
        with self.trunk.hooked(self._settings, self._query.residues, push):
            output = self.compute()
        for spec, name in self._results.items():
            value: Any = output
            for part in name.split("/"):
                value = value[part]
            push(spec.path, copied(value))


def config_name(checkpoint: Checkpoint | None) -> str:
    """Choose the configuration that has the parts a checkpoint has parameters for; without one, that of few parts.

    Parameters
    ----------
    checkpoint : Checkpoint or None
        What will be loaded.

    Returns
    -------
    str
        ``model_1`` with templates or ``model_3`` without them, each with ``_ptm`` where there is that head.
    """
    if checkpoint is None:
        return "model_3_ptm"
    templates = any("template" in name for name in checkpoint.state)
    ptm = any("aux_heads.tm." in name for name in checkpoint.state)
    return ("model_1" if templates else "model_3") + ("_ptm" if ptm else "")


def configure(code: Code, name: str, settings: CaptureSettings, rows: int) -> Any:
    """Return OpenFold's configuration, without anything that hides attention.

    Parameters
    ----------
    code : Code
        OpenFold.
    name : str
        A preset of ``openfold.config.model_config``.
    settings : CaptureSettings
        Number of blocks and passes, depth of the alignment.
    rows : int
        Of the alignment that there is.

    Returns
    -------
    ConfigDict
        With chunking and memory-efficient kernels off.
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


def features(code: Code, config: Any, query: Query, seed: int) -> dict[str, torch.Tensor]:
    """Turn a query into what OpenFold takes, through its own feature pipeline and without templates.

    Parameters
    ----------
    code : Code
        OpenFold.
    config : ConfigDict
        From `configure`.
    query : Query
        Sequence and alignment.
    seed : int
        Of the rows that are drawn for every pass, and of the letters that are masked.

    Returns
    -------
    dict of str to Tensor
        With the passes as their last axis.
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
    seed_everything(seed)
    with warnings.catch_warnings(record=True):
        found: dict[str, torch.Tensor] = code.features.FeaturePipeline(config.data).process_features(raw, "predict")
    return found


def result_tensors(residues: int, blocks: int, ptm: bool) -> dict[TensorSpec, str]:
    """List what is kept of the model's output, with the place of each in it."""
    found = {
        tensor(
            "structure/trajectory_positions",
            (blocks, residues, 14, 3),
            axes=("block", "residue", "atom14", "xyz"),
        ): "sm/positions",
        tensor("structure/trajectory_frames", (blocks, residues, 7), axes=("block", "residue", "frame")): "sm/frames",
        tensor("structure/atom_positions", (residues, _ATOMS, 3)): "final_atom_positions",
        tensor("structure/atom_mask", (residues, _ATOMS)): "final_atom_mask",
        tensor("outputs/confidence_scores", (residues,)): "plddt",
        tensor(
            "outputs/distogram_logits", (residues, residues, 64), axes=("residue", "residue", "bin")
        ): "distogram_logits",
    }
    if ptm:
        found[tensor("structure/ptm", ())] = "ptm_score"
        error = tensor("outputs/predicted_aligned_error", (residues, residues), axes=("residue", "residue"))
        found[error] = "predicted_aligned_error"
    return found


def _drawn(config: Any, rows: int) -> str:
    mode = config.data.predict
    return (
        f"of {rows} rows, {mode.max_msa_clusters} are drawn for every pass and {mode.max_extra_msa} more for the extra "
        "stack, by OpenFold's own feature pipeline, which also masks letters; no templates"
    )


def _renamed(code: Code, model: torch.nn.Module, checkpoint: Checkpoint | None) -> Checkpoint | None:
    """Give parameters of an older OpenFold the names of today, where they do not have them."""
    if checkpoint is None or checkpoint.state.keys() == model.state_dict().keys():
        return checkpoint
    convert = getattr(code.weights, "convert_deprecated_v1_keys", None)
    return dataclasses.replace(checkpoint, state=convert(checkpoint.state)) if convert else checkpoint
