"""Synthetic traces of a model of complexes in any length: ``synthetic:model=af3,tokens=...``, computed while read.

Pair and single representations, and attention over tokens, have the statistics of AlphaFold2's real tensors
(`harness.trace.protein`). No tensors of a diffusion, of attention between atoms or of confidences were available:
those values have plausible ranges and are labelled as not calibrated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property, partial
from typing import Any

import numpy as np

from harness.extensions.complexes.molecules import make_complex
from harness.extensions.complexes.parameters import ROLLOUT, ComplexParameters, parse
from harness.trace import protein
from harness.trace.complexes import Complex
from harness.trace.manifest import Manifest, Metadata, Provenance, validate
from harness.trace.random import Stream, bfloat16_bits, exp
from harness.trace.schema import Role, TensorSpec, tensor
from harness.trace.stream import Trace, block_rows, recut, split

_QUERIES, _KEYS, _ATOM_HEADS, _ATOM_LAYERS = 32, 128, 4, 3
"""Sequence-local attention of atoms: Abramson, J. et al. (2024), Nature 630, 493-500, algorithm 7."""

# sigma_data, and the seventh roots of the largest and least noise level, 160 and 4e-4: the schedule of algorithm 18
# and section 3.7.1 of the supplement, as x * x * ... because `pow` depends on the machine.
_SIGMA, _LARGEST_ROOT, _LEAST_ROOT = 16.0, 2.064782369420003, 0.327024280452292
_RAISED, _RAISED_ABOVE = 1.8, 1.0  # 1 + gamma_0, and gamma_min in Angstrom


def generate(text: str, tokens: int | None) -> ComplexTrace:
    """Open the trace for the text after ``synthetic:model=af3,``; raise `UsageError` as `parse` does."""
    return ComplexTrace(parse(text, tokens))


Blocks = Callable[[], Iterator[np.ndarray]]


class ComplexTrace(Trace):
    """A trace of a complex whose tensors are computed block by block from the seed, in any order."""

    def __init__(self, parameters: ComplexParameters) -> None:
        self.parameters = parameters
        self.label = parameters.label
        self._made: dict[str, Blocks] = {}
        self._specs: list[TensorSpec] = []
        self._list()
        p = parameters
        metadata = Metadata(
            model_name="synthetic af3",
            num_layers=p.layers,
            num_heads=p.heads,
            hidden_dim=p.single_dim,
            residue_indexing_scheme="one-based in each chain",
            input_description=f"{p.chains} random protein chains and {p.ligands} ligands",
            representation_names=("single", "pair", "attention", "token_repr"),
        )
        note = (
            "Pair, single and attention over tokens imitate the statistics of real tensors of AlphaFold2; activations, "
            "positions and noise of the diffusion, attention of atoms and confidences are not calibrated. The values "
            "come from no model."
        )
        provenance = Provenance(source=p.label, seed=p.seed, bf16_born=False, note=note)
        self.manifest = Manifest(
            tensors=tuple(self._specs), metadata=metadata, provenance=provenance, chains=self._molecules.chains
        )
        validate(self.manifest)

    def blocks(self, path: str) -> Iterator[np.ndarray]:
        self.manifest[path]  # raises if there is no such tensor
        return self._made[path]()

    @cached_property
    def _molecules(self) -> Complex:
        return make_complex(self.parameters)

    def _add(
        self, path: str, shape: tuple[int, ...], axes: str, role: Role, made: Blocks, dtype: str = "float32"
    ) -> None:
        self._specs.append(tensor(path, shape, dtype, axes=axes.split(), role=role))
        self._made[path] = made

    def _list(self) -> None:
        """Add all tensors in the order in which a model computes them."""
        p, n = self.parameters, self.parameters.tokens
        for spec, array in self._molecules.arrays().items():
            self._specs.append(spec)
            self._made[spec.path] = partial(split, array)
        windows = -(-self._atoms // _QUERIES)
        for number in range(p.seeds):
            seed = f"seed_{number}/" if p.seeds > 1 else ""
            for i in range(p.layers):
                name = f"{seed}layer_{i}"
                single, pair = partial(self._single, name), partial(self._pair, name)
                self._add(f"single/{name}", (n, p.single_dim), "token channel", Role.SINGLE, single, p.dtype)
                self._add(f"pair/{name}", (n, n, p.pair_dim), "token token channel", Role.PAIR, pair, p.dtype)
                maps = partial(self._attention, name, i)
                path = f"attention/pair_bias/{seed}layer_{i}"
                self._add(path, (p.heads, n, n), "head token token", Role.ATTENTION, maps)
            for i in range(_ATOM_LAYERS):
                shape = (_ATOM_HEADS, windows, _QUERIES, _KEYS)
                maps = partial(self._windows, f"{seed}layer_{i}")
                path = f"attention/atom/{seed}layer_{i}"
                self._add(path, shape, "head window query key", Role.ATTENTION, maps)
            self._list_diffusion(seed)
            self._list_outputs(seed)

    def _list_diffusion(self, seed: str) -> None:
        p, n = self.parameters, self.parameters.tokens
        levels = noise_levels()
        self._add(
            f"diffusion/{seed}noise_levels", levels.shape, "diffusion_step", Role.ACTIVATION, partial(split, levels)
        )
        for step in kept_steps(p.steps):
            for i in range(p.diffusion_layers):
                path = f"diffusion/{seed}step_{step}/layer_{i}/token_repr"
                shape = (p.samples, n, p.diffusion_dim)
                made = partial(self._activations, path)
                self._add(path, shape, "sample token channel", Role.ACTIVATION, made, p.dtype)
            path = f"diffusion/{seed}step_{step}/atom_positions"
            noisy = partial(self._positions, path, seed, float(levels[step]))
            self._add(path, (p.samples, self._atoms, 3), "sample atom xyz", Role.ACTIVATION, noisy)

    def _list_outputs(self, seed: str) -> None:
        p, n, chains = self.parameters, self.parameters.tokens, len(self._molecules.chains)
        rows: list[tuple[str, tuple[int, ...], str, Role, Blocks]] = [
            (
                f"structure/{seed}atom_positions", (p.samples, self._atoms, 3), "sample atom xyz", Role.STRUCTURE,
                partial(self._positions, f"{seed}final", seed, 0.0),
            ),
            *(
                (
                    f"outputs/{seed}predicted_{kind}_error", (p.samples, n, n), "sample token token", Role.OUTPUT,
                    partial(self._errors, f"{seed}{kind}"),
                )
                for kind in ("aligned", "distance")
            ),
            (
                f"outputs/{seed}atom_plddts", (p.samples, self._atoms), "sample atom", Role.OUTPUT,
                partial(self._plddts, seed),
            ),
            (
                f"outputs/{seed}chain_pair_iptm", (p.samples, chains, chains), "sample chain chain", Role.OUTPUT,
                partial(self._scores, f"{seed}chain_pair_iptm", (p.samples, chains, chains)),
            ),
            *(
                (
                    f"outputs/{seed}{name}", (p.samples,), "sample", Role.OUTPUT,
                    partial(self._scores, f"{seed}{name}", (p.samples,)),
                )
                for name in ("ptm", "iptm", "ranking_score")
            ),
        ]  # fmt: skip
        for row in rows:
            self._add(*row)

    @property
    def _atoms(self) -> int:
        return len(self._molecules.atoms["token"])

    def _stored(self, blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield float32 blocks in their stored type; blocks for bfloat16 have bfloat16 values already."""
        for block in blocks:
            yield bfloat16_bits(block) if self.parameters.dtype == "bfloat16" else block

    def _single(self, name: str) -> Iterator[np.ndarray]:
        p = self.parameters
        rows = block_rows((p.tokens, p.single_dim), 4)
        return self._stored(protein.single_rows(p.seed, f"single {name}", p.tokens, p.single_dim, rows, self._rounds))

    def _pair(self, name: str) -> Iterator[np.ndarray]:
        p = self.parameters
        rows = block_rows((p.tokens, p.tokens, p.pair_dim), 4)
        band = -(-rows // protein.TILE) * protein.TILE
        made = protein.pair_rows(p.seed, f"pair {name}", p.tokens, self._channels, band, self._rounds)
        return self._stored(recut(made, rows))

    @property
    def _rounds(self) -> bool:
        return self.parameters.dtype == "bfloat16"

    @cached_property
    def _channels(self) -> Any:
        return protein.pair_channels(self.parameters.seed, self.parameters.pair_dim)

    def _attention(self, name: str, layer: int) -> Iterator[np.ndarray]:
        p = self.parameters
        return protein.attention_heads(p.seed, f"attention {name}", p.tokens, protein.sharpness(layer, p.heads))

    def _windows(self, name: str) -> Iterator[np.ndarray]:
        """Yield the attention of 32 atoms to the 128 around them, head by head; keys that are no atom have weight 0."""
        stream = Stream(self.parameters.seed, f"atom attention {name}")
        count = -(-self._atoms // _QUERIES)
        first = np.arange(count) * _QUERIES - (_KEYS - _QUERIES) // 2
        keys = first[:, None] + np.arange(_KEYS)
        known = ((keys >= 0) & (keys < self._atoms))[:, None]
        for head in range(_ATOM_HEADS):
            logits = stream.normal((count, _QUERIES, _KEYS), head)
            # Integers sum to the same total in any order, as in `harness.trace.protein.attention_heads`.
            weights = np.where(known, (exp(logits) * np.float32(2.0**32)).astype(np.int64), 0)
            yield (weights / weights.sum(axis=-1, keepdims=True)).astype(np.float32)[None]

    def _activations(self, path: str) -> Iterator[np.ndarray]:
        p = self.parameters
        for sample in range(p.samples):
            name = f"{path} {sample}"
            rows = protein.single_rows(p.seed, name, p.tokens, p.diffusion_dim, p.tokens, self._rounds)
            for block in self._stored(rows):
                yield block[None]

    def _positions(self, name: str, seed: str, noise: float) -> Iterator[np.ndarray]:
        """Yield the positions of the atoms in each sample: the same complex, moved a little, as noisy as the step."""
        p = self.parameters
        for sample in range(p.samples):
            moved = Stream(p.seed, f"{seed}sample").normal((self._atoms, 3), sample) * np.float32(0.5)
            added = Stream(p.seed, name).normal((self._atoms, 3), sample) * np.float32(noise)
            yield (self._molecules.atoms["reference_position"] + moved + added)[None]

    def _errors(self, name: str) -> Iterator[np.ndarray]:
        """Yield predicted errors between tokens in Angstrom, larger for tokens that are farther apart."""
        p = self.parameters
        atoms = self._molecules.atoms
        first = np.flatnonzero(np.concatenate(([True], np.diff(atoms["token"]) > 0)))
        at = atoms["reference_position"][first].astype(np.float64)
        for sample in range(p.samples):
            found = np.empty((1, p.tokens, p.tokens), np.float32)
            stream = Stream(p.seed, f"error {name}")
            for row in range(p.tokens):
                apart = at[row] - at
                x, y, z = apart.T
                distance = np.sqrt(x * x + y * y + z * z)
                spread = 1 + 0.2 * stream.normal((p.tokens,), sample, row)
                found[0, row] = np.clip(0.8 + 0.12 * distance * spread, 0.25, 31.75)
            yield found

    def _plddts(self, seed: str) -> Iterator[np.ndarray]:
        for sample in range(self.parameters.samples):
            stream = Stream(self.parameters.seed, f"plddt {seed}")
            of_token = np.clip(85 + 8 * stream.normal((self.parameters.tokens,), sample), 20, 98.9)
            yield of_token.astype(np.float32)[self._molecules.atoms["token"]][None]

    def _scores(self, name: str, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
        words = Stream(self.parameters.seed, name).words(int(np.prod(shape)))
        yield (np.float32(0.5) + words * np.float32(0.45 / 65536)).astype(np.float32).reshape(shape)


def noise_levels() -> np.ndarray:
    """Return the noise at which a model is evaluated in each step, in Angstrom, decreasing; float32, shape ``(200,)``.

    The sampler raises the noise of the schedule before it calls the model, while that of the next step is above 1.
    """
    part = np.arange(ROLLOUT + 1) / ROLLOUT
    root = _LARGEST_ROOT + part * (_LEAST_ROOT - _LARGEST_ROOT)
    square = root * root
    schedule = _SIGMA * (square * square * square * root)
    return (schedule[:-1] * np.where(schedule[1:] > _RAISED_ABOVE, _RAISED, 1.0)).astype(np.float32)


def kept_steps(count: int) -> list[int]:
    """Return the numbers of `count` steps, spread evenly from the first to the last step; of one, the last."""
    if count == 1:
        return [ROLLOUT - 1]
    return [k * (ROLLOUT - 1) // (count - 1) for k in range(count)]
