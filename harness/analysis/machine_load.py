"""Checks of a run's records for signs that its machine was too busy for reliable figures."""

from __future__ import annotations

from harness.analysis.formatting import percent

MEDIAN_DIFFERENCE = 0.1
"""Limit of the A/A control's median difference over cells.

Published runs of 10 rounds have 0.04 and 0.06; of 3 rounds it is twice as much.
"""

LARGEST_DIFFERENCE = 0.5
"""Limit of the A/A control's difference in a cell that is judged. Published runs have 0.25 and 0.32."""

SPREAD = 0.3
"""Limit of the spread of times over rounds, for the format with the largest. Published runs have 0.13 and 0.18."""

LOAD_BEFORE = 1.5
"""Limit of the load average per core before the run. An idle machine has 0; just after a command it is up to 1."""


def busy(
    *,
    aa_median: float | None,
    aa_largest: float | None,
    spread: float | None,
    load_before: float | None,
    load_during: float | None,
    cores: int | None,
    workers: int,
) -> tuple[str, ...]:
    """Return the signs that something else ran on the machine; empty if there are none.

    Parameters
    ----------
    aa_median, aa_largest : float or None
        Differences of the A/A control as parts of a time: the median over cells, and the largest of those that have
        enough rounds to be judged.
    spread : float or None
        The largest spread of any format.
    load_before, load_during : float or None
        Load averages; during the measurement, the run itself adds as many as it has workers.
    cores : int or None
        Processor cores.
    workers : int
        The largest number of concurrent workers.

    Returns
    -------
    tuple of str
        A clause for each limit that is exceeded.
    """
    found = []
    if aa_median is not None and aa_median > MEDIAN_DIFFERENCE:
        found.append(f"identical contenders (A/A) differ by {percent(aa_median)} at the median over cells")
    if aa_largest is not None and aa_largest > LARGEST_DIFFERENCE:
        found.append(f"identical contenders (A/A) differ by {percent(aa_largest)} in one cell")
    if spread is not None and spread > SPREAD:
        found.append(f"times spread by {percent(spread)} from round to round")
    if cores and load_before is not None and load_before > LOAD_BEFORE * cores:
        found.append(f"the load average was {load_before:.1f} before the run, on {cores} cores")
    if cores and load_during is not None and load_during > cores + workers:
        found.append(f"the load average reached {load_during:.1f} during the run, on {cores} cores")
    return tuple(found)
