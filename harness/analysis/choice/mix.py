"""Mixes: how an archive is used, as shares of reads, cold reads, readers, reads per write, and storage price."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from harness.documents import decode_toml
from harness.errors import UsageError, unknown_name
from harness.files import read_bytes
from harness.suite import mix_reads

_PRESETS = Path(__file__).with_name("mixes.toml")
_MOST = 1 << 16  # bytes of a file
_SUM_WITHIN = 1e-6

PRICES = ("gb_month", "months", "hour")
"""Fields of a mix from which its storage price is computed."""


@dataclass(frozen=True, kw_only=True)
class Mix:
    """The use of one archive over its life.

    Attributes
    ----------
    name, description : str
        The name of the mix, and whose use it describes.
    shares : mapping of str to float
        Share of each read in all accesses, by the names of `harness.suite.mix_reads`. Shares sum to 1; a read that is
        not named has 0.
    cold : float
        Share of accesses that find nothing of the archive in the page cache, 0 to 1.
    opens : float
        Share of accesses that open the archive first, 0 to 1; the others find it open.
    readers : int
        Number of concurrent readers, at least 1.
    reads_per_write : float
        Accesses over the archive's life for each time it is written, above 0: writing is part of the cost.
    storage_price : float
        Price of storing one gigabyte (10**9 bytes), in seconds of a reader's waiting: the cost of storing it, divided
        by the cost of one second of waiting. It is computed from the next three if these are given.
    gb_month, months, hour : float, optional
        Price of storing a gigabyte for a month, the number of months, and the price of an hour of waiting, both prices
        in the same currency. All of them or none.

    Raises
    ------
    UsageError
        If a value is invalid; the message names it.
    """

    name: str = "own"
    description: str = ""
    shares: Mapping[str, float]
    cold: float = 0.0
    opens: float = 0.0
    readers: int = 1
    reads_per_write: float = 100.0
    storage_price: float = 0.0
    gb_month: float | None = None
    months: float | None = None
    hour: float | None = None

    def __post_init__(self) -> None:
        """Check every value, and complete the shares and the price."""
        known = mix_reads()
        if strange := [key for key in self.shares if key not in known]:
            raise unknown_name("access in a mix", strange[0], known)
        named = {access: _number(access, share) for access, share in self.shares.items()}
        # Every mix has a share of each read that a preset names, so that reports are the same with other suites too.
        shares = {access: named.get(access, 0.0) for access in known if access in _usual() or named.get(access)}
        total = math.fsum(shares.values())
        if abs(total - 1) > _SUM_WITHIN:
            off = f"{abs(total - 1):.6g} too {'much' if total > 1 else 'little'}"
            raise UsageError(f"The shares of the mix {self.name!r} sum to {total:.6g}, which is {off}: make it 1.")
        object.__setattr__(self, "shares", shares)
        self._take_prices()
        for key in ("cold", "opens", "readers", "reads_per_write", "storage_price"):
            value = _number(key, getattr(self, key))
            if key in ("cold", "opens") and value > 1:
                raise UsageError(f"{key} is {value:g} in the mix; it is a part of accesses, from 0 to 1.")
            if key == "readers" and (value < 1 or value != int(value)):
                raise UsageError(f"readers is {value:g} in the mix; give a whole number of at least 1.")
            object.__setattr__(self, key, int(value) if key == "readers" else value)
        if self.reads_per_write <= 0:
            raise UsageError("reads_per_write is 0 in the mix; give the accesses for each write, above 0.")
        for key in ("name", "description"):
            if not isinstance(getattr(self, key), str):
                raise UsageError(f"{key} is {getattr(self, key)!r} in the mix; give a text.")

    def _take_prices(self) -> None:
        given = [key for key in PRICES if getattr(self, key) is not None]
        if not given:
            return
        if len(given) < len(PRICES):
            lacking = [key for key in PRICES if key not in given]
            raise UsageError(f"The mix {self.name!r} has {given[0]} and no {lacking[0]}: give {', '.join(PRICES)}.")
        gb_month, months, hour = (_number(key, getattr(self, key)) for key in PRICES)
        if hour <= 0:
            raise UsageError("hour is 0 in the mix; give the price of an hour of waiting, above 0.")
        object.__setattr__(self, "storage_price", gb_month * months * 3600 / hour)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for records; ``Mix(**values)`` gives the same mix."""
        values = {field.name: getattr(self, field.name) for field in fields(self)} | {"shares": dict(self.shares)}
        return {key: value for key, value in values.items() if key not in PRICES or value is not None}

    def to_flags(self) -> str:
        """Return the numbers of the mix as flags that `parse_mix` reads."""
        values = {key: value for key, value in self.to_dict().items() if key not in ("name", "description", "shares")}
        shares = {access: share for access, share in self.shares.items() if share}
        return ",".join(f"{key}={value!r}" for key, value in (shares | values).items())


@cache
def _stored() -> dict[str, Any]:
    return tomllib.loads(_PRESETS.read_text())


@cache
def _usual() -> frozenset[str]:
    return frozenset(access for values in _stored().values() for access in values["shares"])


@cache
def presets() -> dict[str, Mix]:
    """Return the mixes that are used if no other is given, by name, from ``mixes.toml``."""
    return {name: Mix(name=name, **values) for name, values in _stored().items()}


def several(access: str) -> str:
    """Return the plural of a read of a mix, for sentences."""
    _, info = mix_reads()[access]
    return info.several or f"reads of {info.label}"


def parse_mix(source: str | Path) -> Mix:
    """Read a mix from a preset's name, a TOML file, or flags.

    Parameters
    ----------
    source : str or Path
        The name of one of `presets`. Or a `Path`, or a path that ends in ``.toml``, to a file with the fields of `Mix`
        and a table ``[shares]``. Or ``full_read=0.2,head=0.8,cold=0.3,readers=4``, which may begin with a preset's name
        to change that preset. Given shares replace all of the preset's.

    Raises
    ------
    UsageError
        If there is no such preset or file, a key is unknown or given twice, or a value is invalid.
    """
    if isinstance(source, Path) or source.endswith(".toml"):
        return _from_file(Path(source))
    first, *rest = [part.strip() for part in source.split(",")]
    if "=" in first:
        base, rest = None, [first, *rest]
    elif first in presets():
        base = presets()[first]
    else:
        raise unknown_name("mix", first, presets())
    values: dict[str, Any] = {}
    for part in rest:
        key, equals, text = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise UsageError(f"{part!r} in the mix is not KEY=VALUE; write head=0.8,cold=0.3.")
        if key in values:
            raise UsageError(f"{key} is given twice in the mix; give it once.")
        try:
            values[key] = text if key in ("name", "description") else float(text)
        except ValueError as error:
            raise UsageError(f"{key} is {text!r} in the mix; give a number.") from error
    shares = {key: values.pop(key) for key in mix_reads() if key in values}
    _require_known(values)
    if base is None:
        return Mix(shares=shares, **values)
    kept = base.to_dict()
    if "storage_price" in values:  # given explicitly, so it does not follow from the preset's prices
        kept = {key: value for key, value in kept.items() if key not in PRICES}
    changed = kept | {"name": f"{base.name}, changed"} | ({"shares": shares} if shares else {}) | values
    return Mix(**changed) if rest else base


def _from_file(path: Path) -> Mix:
    try:
        text = read_bytes(path, _MOST)
    except OSError as error:
        raise UsageError(f"The mix {path} cannot be read: {error.strerror or error}.") from error
    values = decode_toml(text, dict[str, Any], f"The mix {path}", mend="write KEY = VALUE", error=UsageError)
    shares = values.pop("shares", {})
    if not isinstance(shares, dict):
        raise UsageError(f"shares is {shares!r} in {path}; make it a table, [shares], with a line for each access.")
    _require_known(values)
    return Mix(shares=shares, **{"name": path.stem} | values)


def _require_known(values: Mapping[str, Any]) -> None:
    known = [field.name for field in fields(Mix) if field.name != "shares"]
    if strange := [key for key in values if key not in known]:
        raise unknown_name("key of a mix", strange[0], [*known, *mix_reads()])


def _number(key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise UsageError(f"{key} is {value!r} in the mix; give a number.")
    if value < 0:
        raise UsageError(f"{key} is {value:g} in the mix; it cannot be negative.")
    return float(value)
