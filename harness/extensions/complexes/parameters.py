"""Parameters of ``--trace synthetic:model=af3,key=value,...``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from harness.errors import UsageError
from harness.trace.random import SEED_LIMIT
from harness.trace.stream import ParameterValues, parse_parameters

_MOST_LAYERS, _MOST_OTHERS = 5000, 1_000_000
ROLLOUT = 200
"""Steps of the complete schedule of the diffusion, of which ``steps`` are kept, evenly spaced."""

_DIMENSIONS = ("heads", "single_dim", "pair_dim", "diffusion_dim")
_KNOWN: Mapping[str, ParameterValues] = {
    "tokens": range(2, _MOST_OTHERS + 1),
    "chains": range(1, 61),
    "ligands": range(61),
    "layers": range(1, _MOST_LAYERS + 1),
    "diffusion_layers": range(1, _MOST_LAYERS + 1),
    **dict.fromkeys(_DIMENSIONS, range(1, _MOST_OTHERS + 1)),
    "steps": range(1, ROLLOUT + 1),
    **dict.fromkeys(("samples", "seeds"), range(1, 1001)),
    "dtype": ("bfloat16", "float32"),
    "seed": range(SEED_LIMIT),
}


@dataclass(frozen=True, kw_only=True)
class ComplexParameters:
    """Parameters that ``--trace synthetic:model=af3,key=value,...`` may set."""

    tokens: int  # Number of tokens: residues of polymers, and atoms of ligands.
    # Protein chains, and ligands of up to 20 atoms.
    chains: int = 2
    ligands: int = 1
    # Blocks of the trunk and its dimensions.
    layers: int = 8
    heads: int = 16
    single_dim: int = 384
    pair_dim: int = 128
    # Kept steps of the diffusion, up to `ROLLOUT`, layers of its transformer, and width of its activations.
    steps: int = 5
    diffusion_layers: int = 24
    diffusion_dim: int = 768
    # Samples of each seed, and seeds.
    samples: int = 1
    seeds: int = 1
    dtype: str = "bfloat16"  # Type of representations and activations: "bfloat16", "float32".
    seed: int = 0  # Selects the values.

    @property
    def label(self) -> str:
        """``synthetic:model=af3`` with all that differs from the defaults, except the number of tokens."""
        others = (item for item in fields(self) if item.name != "tokens")
        parts = [f"{item.name}={value}" for item in others if (value := getattr(self, item.name)) != item.default]
        return ",".join(["synthetic:model=af3", *parts])


def parse(text: str, tokens: int | None) -> ComplexParameters:
    """Parse the text after ``synthetic:model=af3,`` into parameters.

    Parameters
    ----------
    text : str
        ``key=value,...``; may be empty.
    tokens : int or None
        Number of tokens, if it is given apart from the text; else None.

    Raises
    ------
    UsageError
        For an unknown key, a value out of range, no number of tokens or two different ones, or fewer tokens than chains
        and ligands need.
    """
    given = parse_parameters(text, _KNOWN, "synthetic:model=af3")
    if tokens is not None and given.setdefault("tokens", tokens) != tokens:
        raise UsageError(f"The number of tokens is given twice and differs: tokens={given['tokens']}, size {tokens}.")
    if "tokens" not in given:
        raise UsageError("The trace 'synthetic:model=af3' needs a number of tokens: give tokens=... or a size.")
    found = ComplexParameters(**given)
    if found.tokens < found.chains + found.ligands:
        raise UsageError(
            f"{found.chains} chains and {found.ligands} ligands need at least {found.chains + found.ligands} tokens: "
            f"give more than {found.tokens}, or fewer chains and ligands."
        )
    return found
