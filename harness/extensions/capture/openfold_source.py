"""Import of OpenFold 2 from a checkout of its source, without compiling it or what inference does not use."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import re
import sys
import types
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch

from harness.errors import UsageError

_KERNEL = "attn_core_inplace_cuda"


class Code(NamedTuple):
    """Modules of OpenFold that a capture uses."""

    # ``openfold.config``, ``openfold.model.model`` and ``.primitives``, ``openfold.data.feature_pipeline`` and
    # ``openfold.utils.import_weights``.
    config: ModuleType
    model: ModuleType
    primitives: ModuleType
    features: ModuleType
    weights: ModuleType
    residues: ModuleType  # ``openfold.np.residue_constants``.
    version: str  # That of ``setup.py``, and a digest of the package's files.


_MODULES = {
    "config": "openfold.config",
    "model": "openfold.model.model",
    "primitives": "openfold.model.primitives",
    "features": "openfold.data.feature_pipeline",
    "weights": "openfold.utils.import_weights",
    "residues": "openfold.np.residue_constants",
}


def import_openfold(source: Path) -> Code:
    """Import OpenFold 2 or a fork of it from a checkout.

    Parameters
    ----------
    source : Path
        The folder that holds the package ``openfold``.

    Returns
    -------
    Code
        Its modules.

    Raises
    ------
    UsageError
        If the folder holds no OpenFold, another one was imported before, or a library that it imports is missing.
    """
    package = source / "openfold"
    if not (package / "model" / "primitives.py").is_file():
        raise UsageError(f"{source} is not a checkout of OpenFold 2: it has no openfold/model/primitives.py.")
    before = sys.modules.get("openfold")
    if before is not None and Path(str(before.__file__)).resolve().parent != package.resolve():
        raise UsageError(f"Another openfold was imported from {before.__file__}; capture from one checkout at a time.")
    _replace_kernel()
    if not (package / "resources").is_dir():  # VizFold's fork imports it but does not contain it
        sys.modules.setdefault("openfold.resources", types.ModuleType("openfold.resources"))
    sys.path.insert(0, str(source.resolve()))
    try:
        with warnings.catch_warnings(record=True):
            modules = {key: importlib.import_module(name) for key, name in _MODULES.items()}
    except ModuleNotFoundError as error:
        raise UsageError(
            f"OpenFold from {source} imports {error.name!r}, which is missing: "
            "pip install 'trace-format-harness[capture]'."
        ) from error
    except ImportError as error:
        raise UsageError(f"OpenFold from {source} cannot be imported: {error}.") from error
    finally:
        sys.path.remove(str(source.resolve()))
    return Code(**modules, version=_version(source))


def _replace_kernel() -> None:
    """Register a replacement for OpenFold's compiled softmax, which it imports even on a CPU."""
    if _KERNEL not in sys.modules and importlib.util.find_spec(_KERNEL) is None:
        module: Any = types.ModuleType(_KERNEL)
        module.forward_ = softmax_in_place
        sys.modules[_KERNEL] = module


def softmax_in_place(scores: torch.Tensor, rows: int, columns: int) -> None:
    """Compute the softmax of OpenFold's kernel: over the last axis, in the memory of the scores.

    Parameters
    ----------
    scores : Tensor
        Contiguous, with ``rows * columns`` values.
    rows, columns : int
        Product of all axes but the last, and length of the last axis.
    """
    flat = scores.view(rows, columns)
    flat.copy_(torch.softmax(flat, dim=-1))


def _version(source: Path) -> str:
    state = hashlib.sha256()
    for path in sorted((source / "openfold").rglob("*.py")):
        state.update(path.relative_to(source).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    setup = source / "setup.py"
    stated = re.search(r"version\s*=\s*[\"']([^\"']+)", setup.read_text()) if setup.is_file() else None
    return f"{stated[1] if stated else 'of unknown version'} (files {state.hexdigest()[:16]})"
