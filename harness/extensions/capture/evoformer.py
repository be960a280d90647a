"""AlphaFold2's Evoformer from the wheel openfold3, behind a plain embedding of a sequence and its alignment."""

from __future__ import annotations

import warnings
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch import nn

from harness.extensions.capture.describe import Facts
from harness.extensions.capture.inputs import AMINO_ACIDS, Query
from harness.extensions.capture.plan import CaptureSettings
from harness.extensions.capture.prepared import TorchModel
from harness.extensions.capture.trunk import Trunk, evoformer_trunk
from harness.extensions.capture.weights import Checkpoint, seed_everything

with warnings.catch_warnings(record=True):  # about missing kernels; a capture has to run without them
    from openfold3.core.model.latent.evoformer import EvoformerStack
    from openfold3.core.model.primitives import attention as primitives

# AlphaFold2's supplement, Algorithm 6 and section 1.6, with the names of openfold3.
_STACK: dict[str, Any] = {
    "c_m": 256,
    "c_z": 128,
    "c_hidden_msa_att": 32,
    "c_hidden_opm": 32,
    "c_hidden_mul": 128,
    "c_hidden_pair_att": 32,
    "c_s": 384,
    "no_heads_msa": 8,
    "no_heads_pair": 4,
    "transition_type": "relu",
    "transition_n": 4,
    "msa_dropout": 0.15,
    "pair_dropout": 0.25,
    "no_column_attention": False,
    "opm_first": False,
    "fuse_projection_weights": False,
    "blocks_per_ckpt": None,
    "inf": 1e9,
    "eps": 1e-8,
}
_LETTERS = AMINO_ACIDS + "X-"
_FURTHEST = 32  # residues apart; beyond this distance, relative positions are the same (Algorithm 4)
_REMARK = (
    "input embedding and recycling are Algorithms 3, 4 and 32 of AlphaFold2 without clusters of the alignment, masked "
    "letters, templates and the distances of a previous structure, because the wheel has none for this stack"
)


class EvoformerTrunk(nn.Module):
    """Trunk of an input embedding, recycling and openfold3's `EvoformerStack`.

    Parameters
    ----------
    blocks : int
        Number of blocks of the stack.
    """

    def __init__(self, blocks: int) -> None:
        super().__init__()
        letters, c_m, c_z = len(_LETTERS), _STACK["c_m"], _STACK["c_z"]
        self.linear_target_i = nn.Linear(letters, c_z)
        self.linear_target_j = nn.Linear(letters, c_z)
        self.linear_target_m = nn.Linear(letters, c_m)
        self.linear_msa = nn.Linear(letters + 2, c_m)
        self.linear_relpos = nn.Linear(2 * _FURTHEST + 1, c_z)
        self.layer_norm_m = nn.LayerNorm(c_m)
        self.layer_norm_z = nn.LayerNorm(c_z)
        self.evoformer = EvoformerStack(no_blocks=blocks, **_STACK)

    def forward(self, target: torch.Tensor, msa: torch.Tensor, recycles: int) -> tuple[torch.Tensor, ...]:
        """Run all passes.

        Parameters
        ----------
        target : Tensor
            One-hot letters of the sequence, ``(residues, letters)``.
        msa : Tensor
            One-hot letters, whether there are deletions, and how many; ``(rows, residues, letters + 2)``.
        recycles : int
            Passes after the first.

        Returns
        -------
        tuple of Tensor
            MSA, pair and single representation of the last pass.
        """
        m_first = torch.zeros(len(target), _STACK["c_m"], device=target.device)
        z = torch.zeros(len(target), len(target), _STACK["c_z"], device=target.device)
        ones = torch.ones(msa.shape[:2], device=target.device)
        for _ in range(recycles + 1):
            m, z_input = self._embed(target, msa)
            m[0] += self.layer_norm_m(m_first)
            m, z, s = self.evoformer(
                m, z_input + self.layer_norm_z(z), ones, ones.new_ones(z.shape[:2]), chunk_size=None
            )
            m_first = m[0]
        return m, z, s

    def _embed(self, target: torch.Tensor, msa: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        place = torch.arange(len(target), device=target.device)
        apart = (place[:, None] - place[None, :]).clip(-_FURTHEST, _FURTHEST) + _FURTHEST
        relpos = self.linear_relpos(nn.functional.one_hot(apart, 2 * _FURTHEST + 1).to(target.dtype))
        z = self.linear_target_i(target)[:, None] + self.linear_target_j(target)[None, :] + relpos
        return self.linear_msa(msa) + self.linear_target_m(target), z


def features(query: Query) -> dict[str, torch.Tensor]:
    """Convert a query to the inputs of `EvoformerTrunk`.

    Parameters
    ----------
    query : Query
        Sequence and alignment.

    Returns
    -------
    target : Tensor
        ``(residues, 22)``.
    msa : Tensor
        ``(rows, residues, 24)``; deletions are squashed as in AlphaFold2, by ``2 / pi * arctan(count / 3)``.
    """
    table = np.full(256, _LETTERS.index("X"))
    for number, letter in enumerate(_LETTERS):
        table[ord(letter)] = number
    letters = nn.functional.one_hot(torch.from_numpy(table[query.msa]), len(_LETTERS)).float()
    deletions = torch.from_numpy(query.deletions).float()[..., None]
    msa = torch.cat([letters, (deletions > 0).float(), torch.atan(deletions / 3) * (2 / torch.pi)], dim=-1)
    return {"target": letters[0], "msa": msa}


class PreparedEvoformer(TorchModel):
    """The trunk with its weights and its inputs."""

    def build(self, checkpoint: Checkpoint | None) -> EvoformerTrunk:
        seed_everything(self.settings.seed)
        return EvoformerTrunk(self.settings.blocks)

    def features(self) -> dict[str, torch.Tensor]:
        return features(self.query)

    def places(self) -> Trunk:
        return evoformer_trunk(self.model.evoformer, primitives, _STACK, self.query.residues)

    def facts(self) -> Facts:
        return Facts(
            name="OpenFold3 EvoformerStack",
            version=version("openfold3"),
            config=f"AlphaFold2's Evoformer with {self.settings.blocks} blocks",
            heads=_STACK["no_heads_msa"],
            hidden=_STACK["c_s"],
            libraries=f"openfold3 {version('openfold3')}, torch {torch.__version__}",
            remark=_REMARK,
        )

    def forward(self, features: dict[str, torch.Tensor]) -> Any:
        return self.model(**features, recycles=self.settings.recycles)


def load(settings: CaptureSettings, query: Query) -> PreparedEvoformer:
    """Return the prepared trunk; see `harness.extensions.capture.models.ModelKind.open`."""
    return PreparedEvoformer(settings, query.first_rows(settings.msa_depth))
