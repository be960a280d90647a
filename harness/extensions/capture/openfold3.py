"""The complete OpenFold3 model from the wheel openfold3: AlphaFold3's Pairformer, diffusion and confidence."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from operator import itemgetter
from typing import Any

import numpy as np
import torch

from harness.errors import UsageError
from harness.extensions.capture.describe import Facts
from harness.extensions.capture.inputs import Query
from harness.extensions.capture.plan import AttentionKind, CaptureSettings, Site, end_sites, pair_site
from harness.extensions.capture.prepared import Results, TorchModel
from harness.extensions.capture.trunk import Trunk, copied, triangles
from harness.extensions.capture.weights import Checkpoint, seed_everything
from harness.extensions.capture.wheels import WHEELS
from harness.trace.schema import Role, tensor

with warnings.catch_warnings(record=True):  # about missing kernels; a capture has to run without them
    from openfold3.core.model.primitives import attention as primitives
    from openfold3.projects.of3_all_atom.config.model_config import model_config
    from openfold3.projects.of3_all_atom.model import OpenFold3

    from harness.extensions.capture.openfold3_features import Atoms, atoms_of, features

_BLOCK = "pairformer_stack.blocks.0"
_MODULES = tuple(f"{_BLOCK}.{part}" for part in (*(kind.module for kind in triangles(1)), "attn_pair_bias.mha"))
_BINS = 64  # of distances, in the distogram
_REMARK = (
    "features were made without OpenFold3's own data pipeline: reference conformers are the ideal ones of the Chemical "
    "Component Dictionary, there are no templates; layers are blocks of the Pairformer, blocks of the MSA module are "
    "not kept"
)


def load(settings: CaptureSettings, query: Query) -> PreparedOpenFold3:
    """Return the prepared model; see `harness.extensions.capture.models.ModelKind.open`."""
    return PreparedOpenFold3(settings, query.first_rows(settings.msa_depth))


class PreparedOpenFold3(TorchModel):
    """OpenFold3 with its weights and its features."""

    def build(self, checkpoint: Checkpoint | None) -> OpenFold3:
        config = configure(self.settings)
        self._config = config.architecture
        seed_everything(self.settings.seed)
        model = OpenFold3(config)
        check_modules(model)
        return model

    def features(self) -> dict[str, torch.Tensor]:
        self._atoms = atoms_of(self.query.sequence)
        return features(self.query, self._atoms)

    def places(self) -> Trunk:
        """Return both triangle attentions, and the attention over residues that has the pair representation as bias."""
        n, config = self.query.residues, self._config.pairformer
        single = Site("single/layer_{layer}", (n, config.c_s), ("residue", "channel"), Role.SINGLE, itemgetter(0))
        return Trunk(
            stack=self.model.pairformer_stack,
            primitives=primitives,
            attention=(
                *triangles(config.no_heads_pair),
                AttentionKind("pair-bias", config.no_heads_pair_bias, "none", "attn_pair_bias.mha"),
            ),
            sites=(single, pair_site(n, config.c_z)),
            ends=end_sites(n, config.c_s, config.c_z),
        )

    def facts(self) -> Facts:
        steps = self._config.shared.diffusion.no_full_rollout_steps
        return Facts(
            name="OpenFold3",
            version=version("openfold3"),
            config=f"Pairformer with {self.settings.blocks} blocks, {steps} steps of diffusion, one sample",
            heads=self._config.pairformer.no_heads_pair_bias,
            hidden=self._config.pairformer.c_s,
            libraries=f"openfold3 {version('openfold3')}, torch {torch.__version__}",
            remark=_REMARK,
        )

    def forward(self, features: dict[str, torch.Tensor]) -> dict[str, Any]:
        found: dict[str, Any] = self.model(features)[1]
        return found

    def results(self) -> Results:
        """Return the outputs to keep: positions, confidence and distances."""
        n, atoms = self.query.residues, self._atoms
        pairs = ("residue", "residue", "bin")
        return {
            tensor("structure/atom_positions", (n, 37, 3)): lambda output: atoms.scattered(
                _plain(output["atom_positions_predicted"], 2)
            ),
            tensor("structure/atom_mask", (n, 37)): lambda _: atoms.scattered(np.ones(len(atoms.names))),
            tensor("outputs/confidence_scores", (n,)): lambda output: _confidence(output["plddt_logits"], atoms),
            tensor("outputs/distogram_logits", (n, n, _BINS), axes=pairs): lambda output: _plain(
                output["distogram_logits"], 3
            ),
        }


def check_modules(model: Any, more: Sequence[str] = ()) -> None:
    """Raise `UsageError` if a module whose tensors are captured is missing, in the Pairformer or among `more`.

    Raises
    ------
    UsageError
        Names the installed version and the version whose modules are known.
    """
    for place in (*_MODULES, *more):
        part = model
        for name in place.split("."):
            part = getattr(part, name, None)
        if part is None:
            raise UsageError(
                f"openfold3 {version('openfold3')} has no {place}, where tensors of {WHEELS['openfold3']} are taken: "
                f"pip install --no-deps openfold3=={WHEELS['openfold3']}."
            )


def configure(settings: CaptureSettings) -> Any:
    """Return OpenFold3's configuration, without anything that hides attention: chunking and kernels are off."""
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


def _plain(value: torch.Tensor, axes: int) -> np.ndarray:
    return copied(value.reshape(value.shape[-axes:]))


def _confidence(logits: torch.Tensor, atoms: Atoms) -> np.ndarray:
    """Return pLDDT from 0 to 100 of every alpha carbon: the mean of the bins, weighted by their probability."""
    shares = torch.softmax(logits.float(), dim=-1)
    bins = shares.shape[-1]
    centers = (torch.arange(bins, device=shares.device) + 0.5) / bins
    scores = _plain((shares * centers).sum(dim=-1), 1) * np.float32(100)
    return np.ascontiguousarray(scores[[name == "CA" for name in atoms.names]])
