"""Values as TOML, which the standard library reads and does not write."""

from __future__ import annotations

import json
from typing import Any


def toml_value(value: Any) -> str:
    """Return a text or a number as TOML."""
    # A JSON text is a TOML text, except that TOML wants the one control character escaped that JSON leaves.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f") if isinstance(value, str) else repr(value)
