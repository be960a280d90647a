"""Rows read from a CSV file, held against the types of their columns: the same rules as for stored documents."""

from __future__ import annotations

import typing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from harness.documents import MEND, DocumentError, convert


def check_rows(frame: pd.DataFrame, row: type, path: Path) -> None:
    """Hold every value of every column against its type and range, column by column.

    Parameters
    ----------
    frame : DataFrame
        As `pandas.read_csv` gives it, with NaN for what is empty in columns other than of text.
    row : type
        A dataclass; its fields name the columns.
    path : Path
        The file, for messages.

    Raises
    ------
    DocumentError
        Naming the file, the line, the column and what was expected.
    """
    hints = typing.get_type_hints(row, include_extras=True)
    for name in (column for column in frame if column in hints):
        kind = msgspec.inspect.type_info(hints[name])
        optional = isinstance(kind, msgspec.inspect.UnionType)
        if isinstance(kind, msgspec.inspect.UnionType):
            (kind,) = (part for part in kind.types if not isinstance(part, msgspec.inspect.NoneType))
        text = isinstance(kind, msgspec.inspect.StrType | msgspec.inspect.LiteralType)
        empty = (frame[name].isna() if text else frame[name].isna() | frame[name].eq("")).to_numpy(bool)
        wrong = np.where(empty, not optional, _wrong(frame[name], kind))
        if wrong.any():
            at = int(wrong.argmax())
            where = f"{path}, line {_line(frame, at)}, column {name}"
            convert(_plain(frame[name].iloc[at], kind), hints[name], where)
            raise DocumentError(f"{where}: holds {frame[name].iloc[at]!r}, which it is not for; {MEND}.")


def _wrong(values: pd.Series[Any], kind: msgspec.inspect.Type) -> np.ndarray:
    """Say which values do not fit; what it says of empty ones does not count."""
    match kind:
        case msgspec.inspect.IntType() | msgspec.inspect.FloatType():
            if values.dtype == bool:
                return np.ones(len(values), bool)
            numbers = pd.to_numeric(values, errors="coerce").to_numpy(float)
            fits = np.isfinite(numbers)
            if kind.ge is not None:
                fits &= numbers >= kind.ge
            if isinstance(kind, msgspec.inspect.IntType):  # the largest one is not exact as a float
                fits &= (np.where(fits, numbers, 0) % 1 == 0) & (numbers < (kind.le or 2**63))
            return ~fits
        case msgspec.inspect.BoolType():
            # Where one is none, all that are come as texts.
            return ~values.map(lambda value: isinstance(value, bool | np.bool_) or value in ("True", "False")).to_numpy(
                bool
            )
        case msgspec.inspect.LiteralType():
            return ~values.isin(kind.values).to_numpy()
        case msgspec.inspect.StrType(pattern=str(pattern)):
            return ~values.astype(str).str.fullmatch(pattern).to_numpy(bool)
    return np.zeros(len(values), bool)


def _plain(value: Any, kind: msgspec.inspect.Type) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, float) and np.isnan(value):
        return None
    whole = isinstance(kind, msgspec.inspect.IntType) and isinstance(value, float) and value.is_integer()
    return int(value) if whole else value


def _line(frame: pd.DataFrame, at: int) -> int:
    """Return the number of the line that a row begins on; a reason may have lines of its own."""
    return at + 2 + sum(value.count("\n") for value in frame.iloc[:at].to_numpy().flat if isinstance(value, str))
