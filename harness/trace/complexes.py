"""Tables of a complex: its chains, tokens and atoms, and the tensors that hold them in a trace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np

from harness.errors import HarnessError
from harness.trace.chains import Chain, ChainKind
from harness.trace.schema import Role, SchemaError, TensorSpec, tensor
from harness.trace.stream import Trace, read_whole

TOKENS, ATOMS, CHAINS = "inputs/tokens", "inputs/atoms", "inputs/chains"
CHAIN_NAMES, TOKEN_CHAIN, ATOM_TOKEN = f"{CHAINS}/name", f"{TOKENS}/chain", f"{ATOMS}/token"

MOST_VALUES, _MOST_NAMES = 50_000_000, 1_000_000
"""Maximum values of a table column, which is read completely; and maximum names of a column, each a separate string."""

LETTERS = "letter"
"""Axis of the ASCII letters of a name, which is padded with zeros at its end."""

_AXES = {TOKENS: ("token",), ATOMS: ("atom",), CHAINS: ("chain",)}


@dataclass(frozen=True, kw_only=True)
class Complex:
    """Chains, tokens and atoms of a complex."""

    chains: tuple[Chain, ...]  # In the order of their tokens.
    # Columns of both tables by name. Each token or atom has one value, the letters of a name, or coordinates. Tokens
    # have a column ``chain`` (an index into `chains`), atoms a column ``token`` (an index into the tokens).
    tokens: Mapping[str, np.ndarray]
    atoms: Mapping[str, np.ndarray]

    def arrays(self) -> dict[TensorSpec, np.ndarray]:
        """Return the tables as tensors of a trace."""
        chains = {"name": letters([chain.name for chain in self.chains])}
        if any(chain.kind != "other" for chain in self.chains):
            chains["kind"] = letters([chain.kind for chain in self.chains])
        if any(chain.entity for chain in self.chains):
            chains["entity"] = letters([chain.entity for chain in self.chains])
        found: dict[TensorSpec, np.ndarray] = {}
        for group, columns in ((CHAINS, chains), (TOKENS, self.tokens), (ATOMS, self.atoms)):
            for name, column in columns.items():
                axes = (*_AXES[group], *(_inner(name, column) if column.ndim == 2 else ()))
                found[tensor(f"{group}/{name}", column.shape, column.dtype, axes=axes, role=Role.INPUT)] = column
        return found


def _inner(name: str, column: np.ndarray) -> tuple[str]:
    return (LETTERS,) if column.dtype == np.uint8 else ("xyz",)


def letters(texts: Sequence[str]) -> np.ndarray:
    """Return texts as ASCII letters, uint8 of shape ``(len(texts), longest)``, padded with zeros.

    Raises
    ------
    HarnessError
        When a text has other letters.
    """
    try:
        encoded = [text.encode("ascii") for text in texts]
    except UnicodeEncodeError as error:
        raise HarnessError(
            f"{error.object!r} is no name of a chain, residue or atom: expected ASCII letters"
        ) from error
    width = max([1, *map(len, encoded)])
    return np.frombuffer(b"".join(text.ljust(width, b"\0") for text in encoded), np.uint8).reshape(-1, width)


def texts(column: np.ndarray) -> list[str]:
    """Return the texts of an array that `letters` made."""
    return [bytes(row).rstrip(b"\0").decode("ascii", "replace") for row in column]


def read_names(trace: Trace, path: str) -> list[str]:
    """Read a column of names; raise `SchemaError` if it has another type or shape, or too many names or letters."""
    spec = trace.manifest[path]
    if len(spec.shape) != 2 or spec.dtype != "uint8":
        raise SchemaError(f"{path}: expected uint8 letters with two axes, got {spec.dtype} of shape {spec.shape}.")
    if spec.shape[0] > _MOST_NAMES or spec.items > MOST_VALUES:
        raise SchemaError(
            f"{path}: expected at most {_MOST_NAMES:,} names of {MOST_VALUES:,} letters, got shape {spec.shape}."
        )
    return texts(read_whole(trace, path))


def read_index(trace: Trace, path: str) -> np.ndarray:
    """Read a column of row numbers of another table as int64; raise `SchemaError` as `read_names` does."""
    spec = trace.manifest[path]
    if len(spec.shape) != 1 or np.dtype(spec.dtype).kind not in "iu" or spec.values:
        raise SchemaError(f"{path}: expected integers with one axis, got {spec.dtype} of shape {spec.shape}.")
    if spec.items > MOST_VALUES:
        raise SchemaError(f"{path}: expected at most {MOST_VALUES:,} values, got shape {spec.shape}.")
    return read_whole(trace, path).astype(np.int64)


def stated_chains(trace: Trace) -> tuple[Chain, ...]:
    """Return the chains that the tables of a trace state; none if it has no tables.

    Raises
    ------
    SchemaError
        If tokens name chains that the table of chains lacks, or are not in their order; if columns cannot be read, or
        differ in length.
    """
    paths = {spec.path for spec in trace.manifest.tensors}
    if not {CHAIN_NAMES, TOKEN_CHAIN} <= paths:
        return ()

    def column(name: str) -> list[str] | None:
        path = f"{CHAINS}/{name}"
        return read_names(trace, path) if path in paths else None

    names, index = read_names(trace, CHAIN_NAMES), read_index(trace, TOKEN_CHAIN)
    if len(index) and (index.min() < 0 or index.max() >= len(names) or (np.diff(index) < 0).any()):
        raise SchemaError(f"{TOKEN_CHAIN}: expected the chain of each token, ascending from 0 to {len(names) - 1}.")
    bounds = np.searchsorted(index, np.arange(len(names) + 1)).tolist()
    kinds, entities = column("kind") or [""] * len(names), column("entity") or [""] * len(names)
    if not len(kinds) == len(entities) == len(names):
        raise SchemaError(f"{CHAINS}: expected columns of one length, got {len(names)}, {len(kinds)}, {len(entities)}.")
    known: dict[str, ChainKind] = {kind: kind for kind in get_args(ChainKind)}
    return tuple(
        Chain(name=name, kind=known.get(kinds[k], "other"), start=bounds[k], stop=bounds[k + 1], entity=entities[k])
        for k, name in enumerate(names)
    )


def token_chains(names: Sequence[str]) -> tuple[tuple[Chain, ...], np.ndarray]:
    """Return the chains that consecutive tokens name.

    If the tokens of a chain are not consecutive, it is returned several times, which
    `harness.trace.chains.check_chains` refuses when the manifest is validated.

    Parameters
    ----------
    names : sequence of str
        The chain of each token.

    Returns
    -------
    chains : tuple of Chain
        In the order of their tokens.
    index : ndarray of int32
        The chain of each token, shape ``(len(names),)``.
    """
    array = np.asarray(names)
    starts = np.flatnonzero(np.concatenate(([True], array[1:] != array[:-1]))) if len(array) else np.empty(0, int)
    ends = [*starts[1:].tolist(), len(array)]
    chains = tuple(
        Chain(name=str(array[start]), kind="other", start=int(start), stop=int(end))
        for start, end in zip(starts, ends, strict=True)
    )
    index = np.repeat(np.arange(len(chains), dtype=np.int32), [chain.stop - chain.start for chain in chains])
    return chains, index
