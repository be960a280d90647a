"""Models that can be captured: their properties, requirements and loaders."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, replace

from harness.errors import UsageError
from harness.extensions.capture.complex_query import ComplexQuery
from harness.extensions.capture.inputs import Query
from harness.extensions.capture.plan import CaptureSettings, check_settings
from harness.extensions.capture.session import PreparedModel
from harness.extensions.capture.wheels import WHEELS, other_version

_INSTALL = "pip install torch==2.13.0, then pip install 'trace-format-harness[{extra}]'"


@dataclass(frozen=True, kw_only=True)
class ModelKind:
    """A model that can be captured; a line in the entry points ``harness.models`` registers it."""

    name: str  # Value of ``--model``.
    description: str  # One line for ``harness list``.
    blocks: int  # Number of blocks if the caller names none.
    attention: tuple[str, ...]  # Kinds of attention that can be captured.
    # Returns a model that is ready to run, for settings and a query; imports whatever it needs.
    load: Callable[[CaptureSettings, Query], PreparedModel]
    sourced: bool = False  # Whether its code comes from a checkout that the caller names.
    recycles: int = 3  # Passes after the first if the caller names none.
    diffuses: bool = False  # Whether it has diffusion steps.
    missing: Callable[[], str] = lambda: ""  # Returns what is not installed and how to install it; empty if nothing.
    # Like `load`, for a complex of several chains; None for a model of one chain.
    load_complex: Callable[[CaptureSettings, ComplexQuery], PreparedModel] | None = None

    def open_complex(self, settings: CaptureSettings, query: ComplexQuery) -> PreparedModel:
        """Prepare a model for a complex, like `open`; raise UsageError for a model of one chain."""
        if self.load_complex is None:
            raise UsageError(f"The model {self.name!r} takes one chain: give --fasta in place of --query.")
        check_settings(replace(settings, triangle=()), self.attention, 0)  # only the model knows the number of tokens
        return self.load_complex(settings, query)

    def open(self, settings: CaptureSettings, query: Query) -> PreparedModel:
        """Prepare a model, after checking that it supports the settings.

        Parameters
        ----------
        settings : CaptureSettings
            Settings of the caller.
        query : Query
            The sequence and its alignment.

        Returns
        -------
        PreparedModel
            The model with its weights and inputs.

        Raises
        ------
        UsageError
            For settings that the model or the sequence does not support, a wrong checkpoint or a wrong checkout.
        """
        check_settings(settings, self.attention, query.residues)
        return self.load(settings, query)


def _needs(*packages: str, extra: str = "capture") -> Callable[[], str]:
    def missing() -> str:
        lacking = [name for name in packages if importlib.util.find_spec(name) is None]
        wheels = [name for name in packages if name in WHEELS]
        if lacking:
            then = "".join(f", then pip install --no-deps {name}=={WHEELS[name]}" for name in wheels)
            return f"needs {', '.join(lacking)}: {_INSTALL.format(extra=extra)}{then}"
        return " and ".join(filter(None, map(other_version, wheels)))

    return missing


def _openfold3_complex(settings: CaptureSettings, query: ComplexQuery) -> PreparedModel:
    from harness.extensions.capture.openfold3_complex import load_complex  # imports openfold3, an optional package

    return load_complex(settings, query)


def _lazily(module: str) -> Callable[[CaptureSettings, Query], PreparedModel]:
    """Return a loader that imports the module of a model's library only when the model is opened."""

    def load(settings: CaptureSettings, query: Query) -> PreparedModel:
        opened: PreparedModel = importlib.import_module(f"harness.extensions.capture.{module}").load(settings, query)
        return opened

    return load


evoformer = ModelKind(
    name="openfold3-evoformer",
    description="AlphaFold2's Evoformer in the wheel openfold3, with a plain input embedding",
    blocks=48,
    attention=("msa-row", "triangle-start", "triangle-end"),
    load=_lazily("evoformer"),
    missing=_needs("torch", "openfold3", "gemmi", "ml_collections", "scipy", "biotite"),
)

openfold3 = ModelKind(
    name="openfold3",
    description="OpenFold3's whole model, in the manner of AlphaFold3, in the wheel openfold3",
    blocks=48,
    attention=("triangle-start", "triangle-end", "pair-bias"),
    load=_lazily("openfold3"),
    load_complex=_openfold3_complex,
    diffuses=True,
    missing=evoformer.missing,
)

openfold2 = ModelKind(
    name="openfold",
    description="OpenFold 2 from a checkout of its source (--source DIR): AlphaFold2's whole model",
    blocks=48,
    attention=("msa-row", "triangle-start", "triangle-end"),
    load=_lazily("openfold2"),
    sourced=True,
    missing=_needs("torch", "ml_collections", "scipy", "tree", "Bio", "modelcif"),
)

antiberty = ModelKind(
    name="antiberty",
    description="AntiBERTy, a trained language model of antibodies, with the weights of its wheel",
    blocks=8,
    attention=("self",),
    load=_lazily("antiberty"),
    recycles=0,
    missing=_needs("torch", "transformers", "antiberty", extra="antiberty"),
)
