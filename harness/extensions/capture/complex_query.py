"""Query of a model of complexes: chains of a file in the form that OpenFold3 reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from harness.errors import UsageError
from harness.extensions.capture.inputs import AMINO_ACIDS
from harness.files import read_bytes
from harness.trace.chains import ChainKind
from harness.trace.structure import RESIDUES

_MOST = 64 << 20  # bytes of a file
_NUCLEOTIDES: dict[str, tuple[str, str]] = {"rna": ("ACGU", ""), "dna": ("ACGT", "D")}
_KINDS: tuple[ChainKind, ...] = ("protein", "rna", "dna", "ligand")
_MOST_SEEDS = 1000
_Seed = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]  # range of torch
_OneOrMore = str | Annotated[list[str], msgspec.Meta(min_length=1)]


class _Chain(msgspec.Struct, forbid_unknown_fields=True):
    molecule_type: str
    chain_ids: _OneOrMore
    sequence: str | None = None
    ccd_codes: _OneOrMore | None = None
    description: str | None = None


class _Query(msgspec.Struct, forbid_unknown_fields=True):
    chains: list[_Chain]
    query_name: str | None = None
    use_msas: bool = False


class _File(msgspec.Struct, forbid_unknown_fields=True):
    queries: dict[str, _Query]
    seeds: Annotated[list[_Seed], msgspec.Meta(max_length=_MOST_SEEDS)] | None = None


@dataclass(frozen=True, kw_only=True)
class QueryChain:
    """One chain of a complex."""

    # Its identifier, and that of its molecule, which copies share.
    name: str
    entity: str
    kind: ChainKind  # Its kind of molecule.
    components: tuple[str, ...]  # Code of each residue, or of the ligand, in the Chemical Component Dictionary.


@dataclass(frozen=True, kw_only=True)
class ComplexQuery:
    """The chains of a complex, and the seeds that the file names; empty if it names none."""

    name: str
    chains: tuple[QueryChain, ...]
    seeds: tuple[int, ...] = ()


def read_complex(path: Path) -> ComplexQuery:
    """Read the query of a complex.

    Parameters
    ----------
    path : Path
        JSON as for OpenFold3 0.5: ``{"queries": {NAME: {"chains": [...]}}}``, each chain with ``molecule_type``,
        ``chain_ids``, and a ``sequence`` or, for a ligand, ``ccd_codes``. Alignments and templates are not accepted.

    Raises
    ------
    UsageError
        If it cannot be read, does not have exactly one query, has no chain or more than 1,000 seeds, requests
        alignments, names a chain twice, or has a letter that is no residue.
    """
    try:
        found = msgspec.json.decode(read_bytes(path, _MOST), type=_File)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error
    except msgspec.MsgspecError as error:
        raise UsageError(f"{path} is no query of a complex that can be captured: {str(error).rstrip('.')}.") from error
    if any(query.use_msas for query in found.queries.values()):
        raise UsageError(f"{path} asks for alignments (use_msas), which are not supported: set it to false.")
    if len(found.queries) != 1:
        raise UsageError(f"{path} holds {len(found.queries)} queries, and one is wanted: leave one in it.")
    ((name, query),) = found.queries.items()
    entities: dict[tuple[ChainKind, tuple[str, ...]], str] = {}
    chains = [chain for given in query.chains for chain in _chains(path, given, entities)]
    if not chains:
        raise UsageError(f"{path} has no chain: give at least one.")
    names = [chain.name for chain in chains]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"{path} names the chain {twice[0]!r} twice: give each chain an identifier of its own.")
    return ComplexQuery(name=name, chains=tuple(chains), seeds=tuple(dict.fromkeys(found.seeds or ())))


def _chains(path: Path, given: _Chain, entities: dict[tuple[ChainKind, tuple[str, ...]], str]) -> list[QueryChain]:
    """Return the chains of an entry; entries of the same molecule share its entity."""
    kind = next((known for known in _KINDS if known == given.molecule_type.lower()), None)
    if kind is None:
        raise UsageError(f"{path}: {given.molecule_type!r} is no type of molecule; known are {', '.join(_KINDS)}.")
    names = _listed(given.chain_ids)
    components: tuple[str, ...]
    if kind == "ligand":
        codes = _listed(given.ccd_codes or [])
        if len(codes) != 1 or given.sequence:
            raise UsageError(
                f"{path}: the ligand {names[0]} needs one code in ccd_codes, such as ATP, and nothing else."
            )
        components = (codes[0].upper(),)
    elif not given.sequence or given.ccd_codes:
        raise UsageError(f"{path}: the chain {names[0]} needs a sequence and no ccd_codes.")
    else:
        components = tuple(_component(path, names[0], kind, letter) for letter in given.sequence.upper())
    entity = entities.setdefault((kind, components), str(len(entities) + 1))
    return [QueryChain(name=name, entity=entity, kind=kind, components=components) for name in names]


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _component(path: Path, chain: str, kind: ChainKind, letter: str) -> str:
    letters, prefix = _NUCLEOTIDES.get(kind, (AMINO_ACIDS, ""))
    if letter not in letters:
        raise UsageError(f"{path}: {letter!r} in the chain {chain} is no residue of {kind}; the letters are {letters}.")
    return prefix + letter if kind != "protein" else RESIDUES[letter]
