"""Tensors that were written so far, and a check of each further tensor against them before it is written."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from harness.trace.chains import counted_axes, differing_lengths
from harness.trace.complexes import CHAIN_NAMES, TOKEN_CHAIN
from harness.trace.manifest import check_path
from harness.trace.rules import placed
from harness.trace.schema import SchemaError, TensorSpec

_TABLES = {CHAIN_NAMES, TOKEN_CHAIN}
"""With both of them, a trace has chains (`harness.trace.complexes.stated_chains`), and more axes have one length."""


class WrittenTensors:
    """Tensors of an archive that is being written.

    A tensor that `harness.trace.manifest.validate` would refuse at the end is refused before it is written, so that the
    others are not lost with it. A first axis to which rows are appended has its final length, and is compared, only at
    the end.

    Parameters
    ----------
    residues : int or None
        Number of residues, if it is stated.

    Attributes
    ----------
    specs : dict of str to TensorSpec
        Specifications by path, in order.
    """

    def __init__(self, residues: int | None) -> None:
        self.specs: dict[str, TensorSpec] = {}
        self._growing: set[str] = set()
        self._groups: set[str] = set()
        self._stated = {} if residues is None else {"residue": residues}
        self._lengths = dict(self._stated)

    def require(self, spec: TensorSpec, grows: bool) -> None:
        """Raise `SchemaError` if a tensor cannot be in one trace with the others.

        Raises
        ------
        SchemaError
            If an axis has another length than in the others, its path is taken, or one tensor is a group of another.
        """
        check_path(spec.path, self.specs, self._groups)
        if spec.path in _TABLES or any(differing_lengths([_final(spec, grows)], _counted(self.specs), self._lengths)):
            # Check all of them: an extension may now define other axes than when they were written.
            self._measured({**self.specs, spec.path: spec}, self._growing | ({spec.path} if grows else set()))

    def add(self, spec: TensorSpec, grows: bool) -> None:
        """Add a tensor after its values were written, or replace it by one with more rows."""
        begins_to_grow = grows and spec.path in self.specs and spec.path not in self._growing
        if spec.path not in self.specs:
            self._groups |= check_path(spec.path, self.specs, self._groups)
        self.specs[spec.path] = spec
        if grows:
            self._growing.add(spec.path)
        if begins_to_grow or spec.path in _TABLES:
            self._lengths = self._measured(self.specs, self._growing)
        else:
            new = _final(spec, grows)
            self._lengths = dict(zip(new.axes, new.shape, strict=True)) | self._lengths

    def _measured(self, specs: Mapping[str, TensorSpec], growing: Collection[str]) -> dict[str, int]:
        """Return the length of each axis, or raise `SchemaError`."""
        final = [_final(spec, spec.path in growing) for spec in placed(specs.values())]
        for problem in differing_lengths(final, _counted(specs), self._stated):
            raise SchemaError(problem)
        found = {axis: n for spec in reversed(final) for axis, n in zip(spec.axes, spec.shape, strict=True)}
        return found | self._stated


def _counted(paths: Collection[str]) -> tuple[str, ...]:
    return counted_axes(chains=_TABLES.issubset(paths))


def _final(spec: TensorSpec, grows: bool) -> TensorSpec:
    """Return a tensor without the name of its first axis if that may still grow."""
    return replace(spec, axes=("", *spec.axes[1:])) if grows and spec.axes else spec
