"""What stands in a file: its SHA-256, and its content where it is JSON."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.files import open_regular


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with open_regular(path) as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def parse_json(data: bytes) -> Any:
    """Read a JSON.

    Raises
    ------
    HarnessError
        When it is truncated or damaged.
    """
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise HarnessError(f"the JSON is truncated or damaged ({error})") from error
