"""Rules for an archive of a complex: tables that fit its tensors, steps in order, samples of one length."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator

import numpy as np

from harness.extensions.complexes.places import diffusion_place, has_samples, sample_of, without_sample
from harness.trace.chains import COMPLEX_AXES, differing_lengths
from harness.trace.complexes import (
    ATOM_TOKEN,
    ATOMS,
    CHAIN_NAMES,
    CHAINS,
    MOST_VALUES,
    TOKEN_CHAIN,
    TOKENS,
    read_index,
    read_names,
)
from harness.trace.rules import ArchiveRules, Place
from harness.trace.schema import Role, SchemaError
from harness.trace.stream import Trace, read_whole

_Row = tuple[str, Role, *tuple[str, ...]]
"""A pattern of paths, with the role and the possible axes of their tensors."""

_SEED = r"(?:seed_\d+/)?"
_SAMPLE = r"(?:seed_\d+_)?sample_\d+/"
_OUTPUTS = {
    "predicted_aligned_error|predicted_distance_error": ("token token", "residue residue"),
    "atom_plddts": ("atom",),
    "token_plddts": ("token",),
    "ptm|iptm|ranking_score": ("",),
    "chain_ptm|chain_iptm": ("chain",),
    "chain_pair_iptm": ("chain chain", "chain_pair"),
}
"""Axes of the outputs of each sample: after the axis ``sample``, or alone if the path names a single sample."""


def _of_outputs(names: str, axes: tuple[str, ...]) -> tuple[_Row, _Row]:
    of_all = (f"sample {axes[0]}".strip(), *axes)
    return (rf"outputs/{_SEED}(?:{names})", Role.OUTPUT, *of_all), (
        rf"outputs/{_SAMPLE}(?:{names})",
        Role.OUTPUT,
        *axes,
    )


_STEP = rf"diffusion/{_SEED}step_\d+"
_PLACES: tuple[_Row, ...] = (
    (rf"{TOKENS}/\w+", Role.INPUT, "token", "token letter"),
    (rf"{ATOMS}/\w+", Role.INPUT, "atom", "atom letter", "atom xyz"),
    (rf"{CHAINS}/\w+", Role.INPUT, "chain", "chain letter"),
    (r"inputs/msa_rows", Role.INPUT, "msa_row"),
    (r"inputs/templates", Role.INPUT, "template", "template letter"),
    (rf"diffusion/{_SEED}noise_levels", Role.ACTIVATION, "diffusion_step"),
    (rf"{_STEP}/layer_\d+/token_repr", Role.ACTIVATION, "sample token channel"),
    (rf"{_STEP}/(?:atom|denoised)_positions", Role.ACTIVATION, "sample atom xyz"),
    *(row for names, axes in _OUTPUTS.items() for row in _of_outputs(names, axes)),
    (rf"outputs/{_SEED}distogram_logits", Role.OUTPUT, "token token bin", "residue residue bin"),
)


_OF_TOKENS: tuple[_Row, ...] = (
    (rf"single/{_SEED}layer_\d+", Role.SINGLE, "token channel"),
    (rf"pair/{_SEED}layer_\d+", Role.PAIR, "token token channel"),
    (
        rf"attention/[^/]+/{_SEED}layer_\d+",
        Role.ATTENTION,
        *("head token token", "head window query key", "token head token token"),
    ),
    (rf"structure/{_SEED}atom_positions", Role.STRUCTURE, "sample atom xyz", "atom xyz"),
    (rf"structure/{_SAMPLE}atom_positions", Role.STRUCTURE, "atom xyz"),
    (rf"activations/{_SEED}final/single_repr", Role.SINGLE, "token channel"),
    (rf"activations/{_SEED}final/pair_repr", Role.PAIR, "token token channel"),
    (r"inputs/msa", Role.INPUT, "msa_row token"),
    (rf"recycle/{_SEED}step_\d+/(?:single_repr|single/layer_\d+)", Role.SINGLE, "token channel"),
    (rf"recycle/{_SEED}step_\d+/(?:pair_repr|pair/layer_\d+)", Role.PAIR, "token token channel"),
)
"""Tensors over tokens and atoms, not over the residues of one chain, if an archive has a table of tokens."""


def _place(path: str, paths: Collection[str]) -> Place | None:
    for pattern, role, *choices in (*_PLACES, *(_OF_TOKENS if TOKEN_CHAIN in paths else ())):
        if re.fullmatch(pattern, path):
            return role, tuple(tuple(names.split()) for names in choices)
    return None


def _check(trace: Trace) -> Iterator[str]:
    """Yield a sentence for each broken rule of a trace that has tables of a complex, diffusion steps or samples."""
    yield from _tables(trace)
    yield from _steps(trace)
    yield from _samples(trace)


def _tables(trace: Trace) -> Iterator[str]:
    paths = {spec.path for spec in trace.manifest.tensors}
    has = {group: any(path.startswith(f"{group}/") for path in paths) for group in (TOKENS, ATOMS, CHAINS)}
    diffuses = any(path.startswith("diffusion/") for path in paths)
    if not (any(has.values()) or diffuses):
        return
    of_tokens = has[TOKENS] or diffuses or ATOM_TOKEN in paths  # a source may leave out the table of tokens
    needed = {CHAIN_NAMES: True, TOKEN_CHAIN: of_tokens, ATOM_TOKEN: of_tokens and has[ATOMS]}
    lacking = [path for path, is_needed in needed.items() if is_needed and path not in paths]
    yield from differing_lengths(trace.manifest.tensors, COMPLEX_AXES)
    for path in lacking:
        yield f"{path}: expected this column of the tables of a complex, found none."
    if lacking:
        return
    try:
        names = read_names(trace, CHAIN_NAMES)
        chain_of = read_index(trace, TOKEN_CHAIN) if of_tokens else None
        token_of = read_index(trace, ATOM_TOKEN) if ATOM_TOKEN in paths else None
    except SchemaError as error:
        yield str(error)
        return
    for name in sorted(name for name, count in Counter(names).items() if count > 1):
        yield f"{CHAIN_NAMES}: the chain {name!r} is named twice: give each chain a name of its own."
    if chain_of is None:
        return
    yield from _indices(TOKEN_CHAIN, chain_of, len(names), "chain")
    if token_of is not None:
        yield from _indices(ATOM_TOKEN, token_of, len(chain_of), "token")
    stated = [(chain.name, chain.start, chain.stop) for chain in trace.manifest.chains]
    bounds = [(name, *map(int, np.searchsorted(chain_of, [k, k + 1]))) for k, name in enumerate(names)]
    if stated and stated != bounds and (np.diff(chain_of) >= 0).all():
        yield f"{TOKEN_CHAIN}: the manifest states the chains {stated[:3]}, the tables {bounds[:3]}: expected the same."


def _indices(path: str, index: np.ndarray, count: int, what: str) -> Iterator[str]:
    """Yield problems of a column that names a row of another table for each of its own rows, in ascending order."""
    own = path.split("/")[1].removesuffix("s")
    wrong = np.flatnonzero((index < 0) | (index >= count))
    if len(wrong):
        row = int(wrong[0])
        yield f"{path}: the {own} {row} is of the {what} {index[row]}: expected one from 0 to {count - 1}."
        return
    back = np.flatnonzero(np.diff(index) < 0)
    if len(back):
        row = int(back[0]) + 1
        yield f"{path}: the {own} {row} is of the {what} {index[row]}, behind one of a later: expected an order."
    missing = np.setdiff1d(np.arange(count), index)
    if len(missing):
        yield f"{path}: the {what} {missing[0]} has no {own}: expected at least one."


def _steps(trace: Trace) -> Iterator[str]:
    last: dict[tuple[str, str], tuple[int, str]] = {}
    seeds: defaultdict[str, set[int]] = defaultdict(set)
    for spec in trace.manifest.tensors:
        place = diffusion_place(spec)
        if place is None:
            continue
        seeds[place.seed].add(place.step)
        key = (place.seed, f"{place.layer} {place.name}")
        before = last.get(key)
        if before is not None and before[0] > place.step:
            yield f"{spec.path}: expected steps in order, found it behind {before[1]}."
        last[key] = (place.step, spec.path)
    paths = {spec.path for spec in trace.manifest.tensors}
    for seed, steps in seeds.items():
        path = f"diffusion/{seed}noise_levels"
        if path not in paths:
            yield f"{path}: expected the noise level of each diffusion step, found none."
            continue
        if trace.manifest[path].items > MOST_VALUES:
            yield f"{path}: expected at most {MOST_VALUES:,} values, got shape {trace.manifest[path].shape}."
            continue
        spec = trace.manifest[path]
        if len(spec.shape) != 1 or spec.values or np.dtype(spec.dtype).kind not in "iuf":
            yield f"{path}: expected numbers with one axis, got {spec.values or spec.dtype} of shape {spec.shape}."
            continue
        levels = read_whole(trace, path).astype(np.float64)
        if max(steps) >= len(levels):
            yield f"{path}: expected a noise level of step {max(steps)}, found those of {len(levels)} steps."
        rising = np.flatnonzero(~(np.diff(levels) < 0))
        if len(rising):
            yield f"{path}: expected levels that fall from step to step, but step {int(rising[0]) + 1} is no lower."


def _samples(trace: Trace) -> Iterator[str]:
    first: dict[str, tuple[str, tuple[int, ...]]] = {}
    for spec in trace.manifest.tensors:
        if sample_of(spec.path) is None:
            continue
        path, shape = first.setdefault(without_sample(spec.path), (spec.path, spec.shape))
        if shape != spec.shape:
            yield f"{spec.path}: expected the shape {shape} of {path}, for samples of one complex, got {spec.shape}."
    lengths: dict[str, tuple[str, int]] = {}
    for spec in trace.manifest.tensors:
        if not has_samples(spec):
            continue
        group = spec.path.split("/")[1] if "/seed_" in spec.path else ""
        path, length = lengths.setdefault(group, (spec.path, spec.shape[spec.axes.index("sample")]))
        if length != spec.shape[spec.axes.index("sample")]:
            yield f"{spec.path}: expected {length} samples as {path}, got shape {spec.shape}."


rules = ArchiveRules(place=_place, check=_check)
