"""Read predictions as the tools after AlphaFold do, from a directory as it was written, slim or minimal.

Every value comes with the file it was read from, as that was named before slimming. A reader asks for one source and
gets that source or an error: the rounded errors of a JSON are never given for those of a pickle.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import HarnessError, UsageError
from harness.extensions.result_directories import container, ranking
from harness.extensions.result_directories.disk import digest, is_plain_file, read_bytes
from harness.extensions.result_directories.manifest import SlimManifest, load_manifest
from harness.extensions.result_directories.surviving import read_entry
from harness.foreign.files import parse_json
from harness.limits import inflate


@dataclass(frozen=True)
class Sourced:
    """A value and where it is from.

    Attributes
    ----------
    value : object
        An array, a number or the bytes of a structure.
    source : str
        The file it was read from, relative to the directory, as it was named before slimming.
    largest_error : float
        Of the value against the one that the program wrote; 0 when it is the same, bit for bit.
    """

    value: Any
    source: str
    largest_error: float = 0.0


def read_file(folder: Path, name: str) -> container.Unpacked:
    """Read a file as it was, also where only an xz or gz of it is left, as other tools leave it.

    Parameters
    ----------
    folder : Path
        The directory.
    name : str
        The file, relative to it, as its program named it.

    Returns
    -------
    Unpacked
        Its content.

    Raises
    ------
    HarnessError
        When it is not there in any form, or damaged.
    """
    manifest = load_manifest(folder)
    if is_plain_file(folder / name) or (manifest and name in manifest.items):
        return read_entry(folder, name, manifest)
    for suffix in (container.SUFFIX, container.XZ, ".gz"):
        path = folder / f"{name}{suffix}"
        if not is_plain_file(path):
            continue
        packed = read_bytes(path)
        try:
            if suffix != ".gz":
                return container.unpack(packed)
            data = inflate("gzip", packed, "it")
            return container.Unpacked(data, digest(data))
        except HarnessError as error:
            raise HarnessError(f"{path} cannot be read: {error}") from error
    return read_entry(folder, name, manifest)  # which says that it is missing


def value_of(folder: Path, name: str, key: str) -> Sourced:
    """Read a value from a pickle or a JSON of confidences.

    Parameters
    ----------
    folder : Path
        The directory.
    name : str
        The file, as its program named it: ``result_MODEL.pkl``, ``pae_MODEL.json``, ``SAMPLE/confidences.json`` and
        such.
    key : str
        ``predicted_aligned_error``, ``plddt``, ``pae``, ``confidenceScore``, ``atom_plddts``, ``ptm`` and such.

    Returns
    -------
    Sourced
        Lists of numbers of a JSON as arrays; nothing that mode minimal dropped.
    """
    facts = _facts(folder, name)
    if not isinstance(facts, dict) or key not in facts:
        raise HarnessError(f"{folder / name} has no {key}; no other source is taken for it.")
    return Sourced(facts[key], name, _errors(folder, name).get(key, 0.0))


def all_of(folder: Path, name: str) -> dict[str, Sourced]:
    """Read every value of a file at once.

    Parameters
    ----------
    folder : Path
        The directory.
    name : str
        A pickle, a JSON of confidences, or any other file, as its program named it.

    Returns
    -------
    dict of str to Sourced
        By the keys that lead to it, joined by ``/``; a file without keys is one value, its bytes, under an empty one.
    """
    if not name.endswith((".json", ".pkl")):
        return {"": structure(folder, name)}
    facts = _facts(folder, name)
    found = dict(_flat(facts)) if name.endswith(".pkl") else facts
    errors = _errors(folder, name)
    return {key: Sourced(value, name, errors.get(key, 0.0)) for key, value in found.items()}


def _flat(content: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    if isinstance(content, dict) and content:
        for key, value in content.items():
            yield from _flat(value, (*path, str(key)))
    else:
        yield "/".join(path), content


def _facts(folder: Path, name: str) -> Any:
    if name.endswith(".pkl"):
        return container.content(read_file(folder, name))
    facts = parse_json(read_file(folder, name).data)
    facts = facts[0] if isinstance(facts, list) and facts else facts
    return {key: _value(value) for key, value in facts.items()} if isinstance(facts, dict) else {}


def _value(value: Any) -> Any:
    # Lists of unequal lengths, as those of a table of chains, stay lists.
    try:
        return np.array(value) if isinstance(value, list) else value
    except ValueError:
        return value


def _errors(folder: Path, name: str) -> dict[str, float]:
    """Return the largest error of each value of a file that has one."""
    manifest: SlimManifest | None = load_manifest(folder)
    entry = manifest.items.get(name) if manifest else None
    if entry is None or is_plain_file(folder / name):
        return {}
    errors: dict[str, float] = {}
    for array in entry.arrays:
        if "largest_error" in array:
            errors[array["path"]] = max(errors.get(array["path"], 0.0), array["largest_error"])
    return errors


def best(folder: Path) -> tuple[str, ...]:
    """Find the best prediction.

    Parameters
    ----------
    folder : Path
        The directory.

    Returns
    -------
    tuple of str
        Names of AF2 models, AF3 sample folders or OpenFold3 samples; more than one when they tie.

    Raises
    ------
    UsageError
        When the directory has no ranking file; no order is made up.
    """
    ranked = ranking.read_af2(folder) or ranking.read_af3(folder) or ranking.read_openfold3(folder)
    if ranked is None or not ranked.best:
        files = f"{ranking.AF2_FILE}, no {ranking.AF3_FILE} and no *{ranking.OPENFOLD3_FILE}"
        raise UsageError(f"{folder} has no {files}, so none of its predictions is the best.")
    return ranked.best


def structure(folder: Path, name: str) -> Sourced:
    """Read a structure file; it is plain in every mode, since tools read it as it is."""
    path = folder / name
    if not is_plain_file(path):
        raise HarnessError(f"{path} is missing.")
    return Sourced(read_bytes(path), name)
