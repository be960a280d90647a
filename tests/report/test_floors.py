"""Words about formats at their best are by A/A controls that took about as long, and never by a smaller floor."""

from __future__ import annotations

import pandas as pd
import pytest

from harness.analysis.attribution import attribute
from harness.analysis.efforts import at
from harness.analysis.grades import grade
from harness.analysis.noise_floors import NEAREST, Floors
from harness.analysis.report_options import SIMILAR_SINCE
from harness.analysis.summary import summarise
from harness.analysis.table import SampleTable
from harness.analysis.verdict import Floor, noise_floor
from tests.report.synthetic_samples import cell, frame

LONG, SHORT = 0.1, 0.003
STOCK = {"reader": "stock", "effort": "stock", "threads": 1}
BEST = {"reader": "best", "effort": "best", "threads": 1}


def one_case(suite: str, access: str, stock: float, again: float, **changes: object):
    """Make the samples of the baseline's stock reader and its A/A control."""
    control = {**STOCK, "effort": ""}
    return [
        cell(suite, access, "hdf5", stock, **STOCK, **changes),
        cell(suite, access, "a/a", again, **control, **changes),
    ]


def table(best: float, noise: float) -> SampleTable:
    """Make a run: a long cell with bests that are short, and short cells whose equal contenders differ by `noise`."""
    groups = one_case("layer_read", "pair_layer", LONG, LONG)
    groups += [
        cell("layer_read", "pair_layer", "zarr", 2 * LONG, **STOCK),
        cell("layer_read", "pair_layer", "hdf5", SHORT, **BEST),
        cell("layer_read", "pair_layer", "zarr", best, **BEST),
    ]
    for number in range(NEAREST):
        groups += one_case("random_access", "window_pair", SHORT, SHORT * (1 + noise), trace=f"t{number}")
    return SampleTable.of(frame(*groups), baseline="hdf5")


def words(found: SampleTable, *, similar: bool = True) -> dict[str, tuple[str, str | None]]:
    summary = summarise(found, "hdf5", similar=similar)
    zarr = summary[(summary["format"] == "zarr")].set_index("effort")
    return {effort: (zarr.loc[effort, "verdict"], zarr.loc[effort, "why"]) for effort in zarr.index}


def test_a_difference_of_bests_within_that_of_equal_short_reads_has_no_word():
    found = table(best=SHORT * 1.08, noise=0.1)
    assert words(found)["best"] == ("inconclusive", "floor")
    assert words(found, similar=False)["best"][0] == "slower", "by the A/A of the long stock cell alone"
    assert words(found)["stock"][0] == "slower"
    assert words(table(best=SHORT * 1.5, noise=0.1))["best"][0] == "slower"
    assert words(table(best=SHORT * 1.08, noise=0.001))["best"][0] == "slower"


@pytest.mark.parametrize(("similar", "word"), [(True, "inconclusive"), (False, "slower")])
def test_it_is_so_in_what_is_due_to_what(similar, word):
    chains = attribute(
        table(best=SHORT * 1.08, noise=0.1), pd.DataFrame(), "hdf5", version=SIMILAR_SINCE - (not similar)
    ).chains
    assert chains.loc[chains["part"] == "best", "verdict"].item() in (word, {"slower": "faster"}.get(word, word))


def test_the_larger_of_both_floors_counts():
    found = table(best=SHORT, noise=0.1)
    floors = Floors(found.cases, "hdf5")
    long = next(case for case in found.cases if case.case.access == "pair_layer")
    best, stock = (
        [cell for cell in long.cells if cell.effort == effort and cell.contender.competes]
        for effort in ("best", "stock")
    )
    assert floors.of(long, *best).difference == pytest.approx(0.0953, abs=1e-4)
    assert floors.of(long, *stock) == Floor() == noise_floor(floors.repeated(long))
    assert len(floors.nearest("warm", SHORT)) == NEAREST and not floors.nearest("cold", SHORT)
    assert Floors(found.cases, "hdf5", similar=False).of(long, *best) == Floor()


def test_grades_of_bests_are_by_it_too():
    def standing(**options: bool) -> str:
        found = table(best=SHORT * 1.08, noise=0.1)
        rows = grade(at(found, "stock"), at(found, "best"), control_of="hdf5", **options).table
        rows = rows[(rows["effort"] == "best") & (rows["format"] == "zarr") & (rows["criterion"] == "layer read")]
        return rows["standing"].item()

    assert (standing(), standing(similar=False)) == ("inconclusive", "behind")
