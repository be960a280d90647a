"""The complete OpenFold3 model on a complex: Pairformer, diffusion and confidences, for seeds and samples."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version

import numpy as np
import torch

from harness.errors import UsageError
from harness.extensions.capture import openfold3 as adapter
from harness.extensions.capture.complex_features import complex_features, molecules_of
from harness.extensions.capture.complex_query import ComplexQuery
from harness.extensions.capture.describe import complex_manifest
from harness.extensions.capture.diffusion import DiffusionHooks
from harness.extensions.capture.plan import AttentionKind, CaptureSettings, Site, check_settings, end_sites, pair_site
from harness.extensions.capture.prepared import checked_device
from harness.extensions.capture.session import PreparedModel, Push
from harness.extensions.capture.trunk import Trunk, copied, triangles
from harness.extensions.capture.weights import read_checkpoint, seed_everything, set_weights
from harness.trace.schema import MOST_TENSORS, Role, TensorSpec, tensor

with warnings.catch_warnings(record=True):  # about missing kernels; a capture has to run without them
    from openfold3.core.metrics.confidence import probs_to_expected_error

_MODULES = ("sample_diffusion", "diffusion_module.diffusion_transformer.blocks", "aux_heads")
_REMARK = (
    "features were made without OpenFold3's own data pipeline: reference conformers are the ideal ones of the Chemical "
    "Component Dictionary, there are no alignments and no templates; layers are blocks of the Pairformer and of the "
    "diffusion transformer, blocks of the MSA module are not kept"
)


def load_complex(settings: CaptureSettings, query: ComplexQuery) -> PreparedComplex:
    """Return the prepared model; see `harness.extensions.capture.models.ModelKind.open_complex`."""
    return PreparedComplex(settings, query)


class PreparedComplex(PreparedModel):
    """OpenFold3 with its weights on one complex; each seed runs the complete model, with all its samples at once."""

    def __init__(self, settings: CaptureSettings, query: ComplexQuery) -> None:
        self.settings, self.query = settings, query
        self._device = checked_device(settings.device)
        checkpoint = read_checkpoint(settings.checkpoint) if settings.checkpoint else None
        config = adapter.configure(settings)
        config.architecture.shared.diffusion.no_full_rollout_samples = settings.samples
        self._config = config
        with warnings.catch_warnings(record=True):
            seed_everything(settings.seed)
            self.model = adapter.OpenFold3(config).eval()
        adapter.check_modules(self.model, _MODULES)
        weights = set_weights(self.model, checkpoint, settings.seed)
        self.model.to(self._device)
        self._molecules = molecules_of(query)
        self._tables = self._molecules.tables()
        check_settings(settings, settings.attention, self._tokens)
        self.trunk, self.diffusion = self._trunk(), self._hooks()
        tensors: list[TensorSpec] = list(self._tables.arrays())
        for seed in self._seeds.values():
            if len(tensors) > MOST_TENSORS:
                raise UsageError(f"{len(self._seeds)} seeds give more than {MOST_TENSORS:,} tensors: name fewer seeds.")
            tensors += [_placed(spec, seed) for spec in self.trunk.tensors(settings, self._tokens)]
            tensors += [*self.diffusion.tensors(seed), *self._outputs(seed)]
        self.manifest = complex_manifest(
            name="OpenFold3",
            version=version("openfold3"),
            config=f"Pairformer with {settings.blocks} blocks, {self.diffusion.steps} steps of diffusion",
            heads=config.architecture.pairformer.no_heads_pair_bias,
            hidden=config.architecture.pairformer.c_s,
            notes=(weights, _REMARK, f"openfold3 {version('openfold3')}, torch {torch.__version__}"),
            trained=checkpoint is not None,
            settings=settings,
            seeds=tuple(self._seeds),
            title=query.name,
            tensors=tensors,
            chains=self._tables.chains,
        )

    @property
    def _tokens(self) -> int:
        return len(self._molecules.chain)

    @property
    def _seeds(self) -> dict[int, str]:
        """Path component of each seed: empty if there is one seed."""
        seeds = dict.fromkeys(self.settings.seeds or self.query.seeds or (self.settings.seed,))
        return {seed: f"seed_{seed}/" if len(seeds) > 1 else "" for seed in seeds}

    def _trunk(self) -> Trunk:
        n, config = self._tokens, self._config.architecture.pairformer
        return Trunk(
            stack=self.model.pairformer_stack,
            primitives=adapter.primitives,
            attention=(
                *triangles(config.no_heads_pair),
                AttentionKind("pair-bias", config.no_heads_pair_bias, "none", "attn_pair_bias.mha"),
            ),
            sites=(
                Site("single/layer_{layer}", (n, config.c_s), ("residue", "channel"), Role.SINGLE, lambda out: out[0]),
                pair_site(n, config.c_z),
            ),
            ends=end_sites(n, config.c_s, config.c_z),
        )

    def _hooks(self) -> DiffusionHooks:
        shared = self._config.architecture.shared
        steps, blocks = shared.diffusion.no_full_rollout_steps, self.model.diffusion_module.diffusion_transformer.blocks
        kept = self.settings.kept_steps or tuple(range(steps))
        if kept[-1] >= steps:
            raise UsageError(f"--keep-steps: there is no step {kept[-1]}; this run has steps 0 to {steps - 1}.")
        layers = self.settings.diffusion_layers or tuple(range(len(blocks)))
        if layers[-1] >= len(blocks):
            raise UsageError(f"--diffusion-layers: there is no layer {layers[-1]}; the model has {len(blocks)}.")
        return DiffusionHooks(
            module=self.model.diffusion_module,
            steps=steps,
            kept_steps=kept,
            layers=layers,
            samples=self.settings.samples,
            tokens=self._tokens,
            atoms=len(self._molecules.token),
            width=self.model.diffusion_module.c_token,
        )

    def _outputs(self, seed: str) -> list[TensorSpec]:
        """Return the kept outputs of the model: positions, confidences and distances."""
        s, n, atoms = self.settings.samples, self._tokens, len(self._molecules.token)
        bins = self._config.architecture.heads.distogram.c_out
        rows = (
            (f"structure/{seed}atom_positions", (s, atoms, 3), "sample atom xyz", Role.STRUCTURE),
            (f"outputs/{seed}atom_plddts", (s, atoms), "sample atom", Role.OUTPUT),
            (f"outputs/{seed}predicted_aligned_error", (s, n, n), "sample token token", Role.OUTPUT),
            (f"outputs/{seed}predicted_distance_error", (s, n, n), "sample token token", Role.OUTPUT),
            (f"outputs/{seed}distogram_logits", (n, n, bins), "token token bin", Role.OUTPUT),
        )
        pae = self._config.architecture.heads.pae.enabled
        return [
            tensor(path, shape, axes=axes.split(), role=role)
            for path, shape, axes, role in rows
            if pae or "aligned_error" not in path
        ]

    def _picked(self, path: str, output: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return a tensor of `_outputs` from the output of the model."""
        name, scores = path.rpartition("/")[2], self._config.confidence
        if name == "atom_positions":
            return output["atom_positions_predicted"]
        if name == "distogram_logits":
            return output["distogram_logits"]
        head = {
            "atom_plddts": "plddt", "predicted_aligned_error": "pae", "predicted_distance_error": "pde"
        }[name]  # fmt: skip
        shares = torch.softmax(output[f"{head}_logits"].float(), dim=-1)
        return probs_to_expected_error(shares, **scores[head]) * (100.0 if head == "plddt" else 1.0)

    def compute(self, seed: int) -> dict[str, torch.Tensor]:
        """Run the unmodified model for one seed and return its output; random numbers are the same each time."""
        seed_everything(seed)
        features = {name: value.to(self._device) for name, value in complex_features(self._molecules).items()}
        with torch.no_grad(), warnings.catch_warnings(record=True):
            output: dict[str, torch.Tensor] = self.model(features)[1]
        return output

    @contextmanager
    def hooked(self, seed: str, push: Push) -> Iterator[None]:
        """Push all tensors of trunk and diffusion while the model runs for a seed."""

        def placed(path: str, array: np.ndarray) -> None:
            push(_path(path, seed), array)

        with self.trunk.hooked(self.settings, self._tokens, placed), self.diffusion.hooked(seed, push):
            yield

    def run(self, push: Push) -> None:
        for spec, array in self._tables.arrays().items():
            push(spec.path, array)
        for number, seed in self._seeds.items():
            with self.hooked(seed, push):
                output = self.compute(number)
            for spec in self._outputs(seed):
                push(spec.path, copied(self._picked(spec.path, output)).reshape(spec.shape))


def _path(path: str, seed: str) -> str:
    """Return the path of a tensor of the trunk for a seed."""
    at = 2 if path.startswith("attention/") else 1
    parts = path.split("/")
    return "/".join(parts[:at]) + "/" + seed + "/".join(parts[at:])


def _placed(spec: TensorSpec, seed: str) -> TensorSpec:
    """Return a tensor of the trunk for a seed: with its path, and axes over tokens."""
    axes = tuple({"residue": "token", "pair_channel": "channel"}.get(axis, axis) for axis in spec.axes)
    return replace(spec, path=_path(spec.path, seed), axes=axes)
