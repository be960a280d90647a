"""Report section on growth with length: text, table of exponents, and drawing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from harness.analysis import formatting
from harness.analysis.efforts import standing
from harness.analysis.findings import Findings
from harness.analysis.verdict import VERDICT_ROUNDS
from harness.extensions.growth.drawing import draw_growth
from harness.extensions.growth.fitting import GROWTH_COLUMNS, LEAST_LENGTHS, growth
from harness.records import KEY_COLUMNS
from harness.report.section import Block, Picture, Section, Table, Text
from harness.sampling.executor import load_executor

_PICTURE = (
    "Time of each warm read against sequence length, both logarithmic, with the fitted power of the length; exponents "
    "are in the table below."
)


@dataclass(frozen=True)
class FoundGrowth:
    """Exponents of a run, and the cells to draw; no exponents for too few lengths or for runs of several nodes."""

    exponents: pd.DataFrame
    cells: pd.DataFrame


class GrowthSection(Section):
    """Section on growth of times with length."""

    name, title = "growth", "Growth with length"
    order = 40
    published: ClassVar = {"growth.csv": tuple(name for name in GROWTH_COLUMNS if name in KEY_COLUMNS)}
    drawn = ("growth",)

    def find(self, folder: Path, findings: Findings) -> FoundGrowth:
        """Fit a power of the length to the cells of stock readers, if the run had a single node."""
        stock = findings.stock if findings.nodes < 2 else None
        exponents = pd.DataFrame(columns=GROWTH_COLUMNS) if stock is None else growth(stock)
        return FoundGrowth(exponents, standing(findings.summary))

    def tables(self, found: FoundGrowth) -> dict[str, pd.DataFrame]:
        """Return the exponents as ``growth.csv``, if there are any."""
        return {} if found.exponents.empty else {"growth.csv": found.exponents}

    def draw(self, found: FoundGrowth, folder: Path) -> list[Path]:
        """Draw the warm reads by one thread."""
        return draw_growth(found.exponents, found.cells, folder)

    def limits(self, found: FoundGrowth, findings: Findings) -> list[str]:
        """Return a sentence if the run had too few rounds for a fit."""
        config, samples = findings.config, findings.samples
        few = config.rounds < VERDICT_ROUNDS and samples["n_res"].nunique() >= LEAST_LENGTHS
        if not found.exponents.empty or not few or findings.nodes > 1 or findings.without_formats:
            return []
        return [f"How times grow with length is not fitted to fewer than {VERDICT_ROUNDS} rounds."]

    def blocks(self, found: FoundGrowth, findings: Findings) -> list[Block]:
        """Return text, picture and table of the exponents of reads by one thread, and of writes."""
        shown = [row for row in found.exponents.to_dict("records") if not load_executor(str(row["executor"])).parallel]
        if not shown or findings.without_formats:
            return []
        names = list(dict.fromkeys(map(_arm, shown)))
        cases: dict[tuple[str, str], dict[str, str]] = {}
        for row in shown:
            case = " ".join(filter(None, (f"{row['suite']}/{row['access']}", row["cache"])))
            text = f"{row['exponent']:.2f} ({row['exponent_low']:.2f} to {row['exponent_high']:.2f})"
            cases.setdefault((formatting.pretty_trace(row["trace"]), case), {})[_arm(row)] = text
        table = Table(
            label="Growth with length: exponents",
            caption="Exponents, with 95 % intervals; growth.csv has them all.",
            columns=["Trace", "Case", *names],
            rows=[[trace, case, *(by.get(name, "") for name in names)] for (trace, case), by in cases.items()],
        )
        return [*_said(shown), Picture("growth", "Growth with length", _PICTURE), table]


def _said(shown: list[dict[Any, Any]]) -> list[Text]:
    worst = max(shown, key=lambda row: float(row["largest_deviation"]))
    lengths = f"{min(row['shortest'] for row in shown)} to {max(row['longest'] for row in shown)} residues"
    return [
        Text(
            "The exponent b of seconds ~ N^b with its 95 % interval over rounds, fitted to the lengths that were "
            f"measured, {lengths}; it does not hold beyond them. "
            "2 is growth with the number of residue pairs, 0 no growth."
        ),
        Text(
            f"No time is further than {100 * float(worst['largest_deviation']):.0f} % from its line "
            f"({_arm(worst)}, {worst['suite']}/{worst['access']}). A large deviation means that the growth is no power "
            "of the length, for example because of fixed costs at short lengths."
        ),
    ]


def _arm(row: dict[Any, Any]) -> str:
    return str(row["format"]) if row["profile"] in ("", "tuned") else f"{row['format']} {row['profile']}"


section = GrowthSection()
