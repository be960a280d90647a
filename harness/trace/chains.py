"""Chains of a complex as ranges along the axis of tokens or residues, so that plans need not read values."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from harness.documents import Count
from harness.trace.schema import SchemaError, TensorSpec

ChainKind = Literal["protein", "rna", "dna", "ligand", "ion", "other"]


COMPLEX_AXES = ("token", "atom", "chain")
"""Axes that count the parts of a complex, with one length in all tensors of its trace."""


@dataclass(frozen=True, kw_only=True)
class Chain:
    """One chain of a complex: a polymer, a ligand or an ion.

    Attributes
    ----------
    name : str
        Identifier of the chain, ``label_asym_id`` of mmCIF.
    kind : {"protein", "rna", "dna", "ligand", "ion", "other"}
        Kind of the chain; ``other`` if the source does not state it.
    start, stop : int
        Range of its tokens, ``start <= token < stop``, or of its residues in a trace without tokens. Chains follow one
        another without gaps.
    entity : str
        Identifier of its entity, which copies of one molecule share; empty if the source does not state it.
    """

    name: str
    kind: ChainKind
    start: Count
    stop: Count
    entity: str = ""


def protein_chains(sequences: Sequence[str]) -> tuple[Chain, ...]:
    """Return protein chains of which only the sequences are known; letters name them, and copies share an entity."""
    entities = {sequence: str(number) for number, sequence in enumerate(dict.fromkeys(sequences), 1)}
    ends = [0, *accumulate(map(len, sequences))]
    return tuple(
        Chain(name=chain_letters(k), kind="protein", start=ends[k], stop=ends[k + 1], entity=entities[sequence])
        for k, sequence in enumerate(sequences)
    )


def chain_letters(number: int) -> str:
    """Return the name of a chain by its number, counted from 0: A to Z, then AA, BB to ZZ, then AAA."""
    return chr(ord("A") + number % 26) * (number // 26 + 1)


def counted_axes(*, chains: bool) -> tuple[str, ...]:
    """Return the axes that have one length in all tensors of a trace; with chains, also those of a complex."""
    return ("residue", *COMPLEX_AXES) if chains else ("residue",)


def check_chains(chains: Sequence[Chain], lengths: Mapping[str, int]) -> None:
    """Raise `SchemaError` if chains share a name, overlap, or do not cover the axis of tokens.

    Parameters
    ----------
    chains : sequence of Chain
        In the order of their tokens; may be empty.
    lengths : mapping of str to int
        Length of each axis of the tensors. Without the axis ``token``, chains are ranges of residues.

    Raises
    ------
    SchemaError
        If chains are invalid; the message names the chain and what was expected.
    """
    names: set[str] = set()
    end = 0
    for chain in chains:
        if not chain.name:
            raise SchemaError(f"The chain of the tokens {chain.start} to {chain.stop} has no name: give it one.")
        if chain.name in names:
            raise SchemaError(f"The chain {chain.name!r} is named twice: give each chain a name of its own.")
        names.add(chain.name)
        if chain.start != end or chain.stop <= chain.start:
            raise SchemaError(
                f"The chain {chain.name!r} has the tokens {chain.start} to {chain.stop}: expected at least one, from "
                f"{end} on, because chains follow one another without gaps."
            )
        end = chain.stop
    axis = "token" if "token" in lengths else "residue"
    if chains and lengths.get(axis, end) != end:
        raise SchemaError(f"The chains have {end} {axis}s, but tensors have {lengths[axis]} along the axis '{axis}'.")


def differing_lengths(
    tensors: Iterable[TensorSpec], axes: Collection[str], known: Mapping[str, int] | None = None
) -> Iterator[str]:
    """Yield a sentence for each tensor in which one of `axes` has another length than in earlier tensors or `known`."""
    lengths = dict(known or {})
    for spec in tensors:
        for axis, length in zip(spec.axes, spec.shape, strict=True):
            if axis in axes and lengths.setdefault(axis, length) != length:
                yield f"{spec.path}: expected {lengths[axis]} {axis}s along axis '{axis}', got shape {spec.shape}."
