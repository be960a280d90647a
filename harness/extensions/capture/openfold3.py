"""OpenFold3's whole model: the Pairformer of AlphaFold3, its diffusion and its confidence, from the wheel openfold3."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from importlib.metadata import version
from operator import attrgetter, itemgetter
from typing import Any

import numpy as np
import torch

from harness.extensions.capture.describe import Facts, describe, input_tensors
from harness.extensions.capture.device import checked_device
from harness.extensions.capture.inputs import Query
from harness.extensions.capture.plan import AttentionKind, CaptureSettings, Site, end_sites, pair_site
from harness.extensions.capture.session import PreparedModel, Push
from harness.extensions.capture.trunk import Trunk
from harness.extensions.capture.weights import read_checkpoint, seed_everything, set_weights
from harness.trace.schema import Role, TensorSpec, tensor

with warnings.catch_warnings(record=True):  # of kernels that are not there, which is what a capture wants
    from openfold3.core.model.primitives import attention as primitives
    from openfold3.projects.of3_all_atom.config.model_config import model_config
    from openfold3.projects.of3_all_atom.model import OpenFold3

    from harness.extensions.capture.openfold3_features import Atoms, atoms_of, features

for _text in ("CUDA is not available", "In CPU autocast"):  # each attention says so on a CPU, in float32
    warnings.filterwarnings("ignore", _text, UserWarning)

_BINS = 64  # of distances, in the distogram
_REMARK = (
    "features were made without OpenFold3's own data pipeline: reference conformers are the ideal ones of the Chemical "
    "Component Dictionary, there are no templates; layers are blocks of the Pairformer, blocks of the MSA module are "
    "not kept"
)


def load(settings: CaptureSettings, query: Query) -> PreparedOpenFold3:
    """Make OpenFold3 ready; see `harness.extensions.capture.models.ModelKind.open`."""
    return PreparedOpenFold3(settings, query)


class PreparedOpenFold3(PreparedModel):
    """OpenFold3 with its weights and its features."""

    def __init__(self, settings: CaptureSettings, query: Query) -> None:
        query = query.first_rows(settings.msa_depth)
        self._settings, self._query = settings, query
        self._device = checked_device(settings.device)
        checkpoint = read_checkpoint(settings.checkpoint) if settings.checkpoint else None
        config = configure(settings)
        seed_everything(settings.seed)
        self.model = OpenFold3(config).eval()
        weights = set_weights(self.model, checkpoint, settings.seed)
        self.model.to(self._device)
        self._atoms = atoms_of(query.sequence)
        seed_everything(settings.seed)
        self._features = features(query, self._atoms)
        pairformer = config.architecture.pairformer
        self.trunk = pairformer_trunk(self.model.pairformer_stack, pairformer, query.residues)
        self._inputs = input_tensors(query)
        self._results = result_tensors(query.residues)
        steps = config.architecture.shared.diffusion.no_full_rollout_steps
        facts = Facts(
            name="OpenFold3",
            version=version("openfold3"),
            config=f"Pairformer with {settings.blocks} blocks, {steps} steps of diffusion, one sample",
            heads=pairformer.no_heads_pair_bias,
            hidden=pairformer.c_s,
            trained=weights.trained,
            weights=weights.note,
            versions={"openfold3": version("openfold3"), "torch": torch.__version__},
            remarks=(_REMARK,),
        )
        tensors = [*self._inputs, *self.trunk.tensors(settings, query.residues), *self._results]
        self.manifest = describe(facts, settings, query, tensors)

    def compute(self) -> dict[str, Any]:
        """Run the model as it is and return its output; the same random numbers each time."""
        batch = {name: value.to(self._device) for name, value in self._features.items()}
        seed_everything(self._settings.seed)
        with torch.no_grad():
            found: dict[str, Any] = self.model(batch)[1]
        return found

    def run(self, push: Push) -> None:
        for spec, array in self._inputs.items():
            push(spec.path, array)
        with self.trunk.hooked(self._settings, self._query.residues, push):
            output = self.compute()
        for spec, pick in self._results.items():
            push(spec.path, pick(output, self._atoms))


def configure(settings: CaptureSettings) -> Any:
    """Return OpenFold3's configuration, without anything that hides attention.

    Parameters
    ----------
    settings : CaptureSettings
        Number of blocks, passes and steps of diffusion.

    Returns
    -------
    ConfigDict
        With chunking and memory-efficient kernels off.
    """
    config = copy.deepcopy(model_config)
    memory = config.settings.memory.eval
    memory.chunk_size = None
    for option in memory:
        if option.startswith("use_"):
            memory[option] = False
    config.architecture.pairformer.no_blocks = settings.blocks
    config.architecture.shared.num_recycles = settings.recycles
    config.architecture.shared.diffusion.no_full_rollout_samples = 1
    if settings.steps is not None:
        config.architecture.shared.diffusion.no_full_rollout_steps = settings.steps
    return config


def pairformer_trunk(stack: torch.nn.Module, config: Any, residues: int) -> Trunk:
    """Find the places in a stack of Pairformer blocks.

    Parameters
    ----------
    stack : Module
        Returns the single and the pair representation, as its blocks do.
    config : ConfigDict
        Of the stack.
    residues : int
        Length of the sequence.

    Returns
    -------
    Trunk
        With both triangle attentions, and the attention over residues that has the pair representation as its bias.
    """
    pairs = config.no_heads_pair
    single = Site("single/layer_{layer}", (residues, config.c_s), ("residue", "channel"), Role.SINGLE)
    end_single, end_pair = end_sites(residues, config.c_s, config.c_z)
    return Trunk(
        stack=stack,
        primitives=primitives,
        attention=(
            (AttentionKind("triangle-start", pairs, "residue"), attrgetter("pair_stack.tri_att_start.mha")),
            (AttentionKind("triangle-end", pairs, "residue"), attrgetter("pair_stack.tri_att_end.mha")),
            (AttentionKind("pair-bias", config.no_heads_pair_bias, "none"), attrgetter("attn_pair_bias.mha")),
        ),
        sites=((single, itemgetter(0)), (pair_site(residues, config.c_z), itemgetter(1))),
        ends=((end_single, itemgetter(0)), (end_pair, itemgetter(1))),
    )


def result_tensors(residues: int) -> dict[TensorSpec, Callable[[dict[str, Any], Atoms], np.ndarray]]:
    """List what is kept of the model's output, with what makes it from the output and the chain's atoms."""
    return {
        tensor("structure/atom_positions", (residues, 37, 3)): _positions,
        tensor("structure/atom_mask", (residues, 37)): lambda _, atoms: atoms.scattered(np.ones(len(atoms.names))),
        tensor("outputs/confidence_scores", (residues,)): _confidence,
        tensor(
            "outputs/distogram_logits", (residues, residues, _BINS), axes=("residue", "residue", "bin")
        ): lambda output, _: _plain(output["distogram_logits"], 3),
    }


def _plain(value: torch.Tensor, axes: int) -> np.ndarray:
    return value.reshape(value.shape[-axes:]).to("cpu", torch.float32, copy=True).contiguous().numpy()


def _positions(output: dict[str, Any], atoms: Atoms) -> np.ndarray:
    return atoms.scattered(_plain(output["atom_positions_predicted"], 2))


def _confidence(output: dict[str, Any], atoms: Atoms) -> np.ndarray:
    """Return pLDDT from 0 to 100 of every alpha carbon: the mean of the bins, weighted by their probability."""
    shares = torch.softmax(output["plddt_logits"].float(), dim=-1)
    bins = shares.shape[-1]
    centers = (torch.arange(bins, device=shares.device) + 0.5) / bins
    scores = _plain((shares * centers).sum(dim=-1), 1) * np.float32(100)
    return np.ascontiguousarray(scores[[name == "CA" for name in atoms.names]])
