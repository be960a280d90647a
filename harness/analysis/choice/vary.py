"""What would change the answer: each weight of a mix varied, the others as they are."""

from __future__ import annotations

import numpy as np

from harness.analysis.choice.costs import CostParts, Use, cost, needed
from harness.analysis.choice.envelope import Flip, inverted, line_flip, step_flip
from harness.suite import mix_reads

MOST_READS_PER_WRITE = 1e6

_SHARE = "share of accesses"


def vary(measured: CostParts, use: Use, formats: list[str], preferred: str) -> list[Flip]:
    """Find where the choice flips along every weight whose effect on every format was measured.

    Parameters
    ----------
    measured : CostParts
        Of one trace.
    use : Use
        From which one weight at a time departs.
    formats : list of str
        Those that compete.
    preferred : str
        The cheapest of them.

    Returns
    -------
    list of Flip
        The share of each access (0 to 1, the others keeping their proportions; none for the only access of a mix),
        ``cold`` and ``opens`` (0 to 1), ``readers`` (at the measured numbers), ``reads_per_write`` (1 to
        `MOST_READS_PER_WRITE`), ``storage_price`` (0 to infinity). Costs are linear in each, or in its inverse, so that
        a cost at two values gives the line and two lines give the exact crossing.
    """
    columns = [measured.formats.index(name) for name in formats]

    def line(weight: str, value: float, unit: str, zero: Use, one: Use, span: tuple[float, float]) -> Flip:
        at_zero, at_one = (cost(measured, end)[:, columns] for end in (zero, one))
        return line_flip(weight, value, unit, at_zero, at_one - at_zero, formats, preferred, span)

    def measurable(changed: Use) -> bool:
        if not all(part in measured.reads for part in needed(changed)):
            return False
        return not np.isnan(cost(measured, changed)[0, columns]).any()

    found = []
    for access in mix_reads():
        share = use.shares.get(access, 0.0)
        if share == 1 or access in measured.absent:
            continue  # where it is the only access, nothing says in which proportions others would replace it
        zero = {a: s / (1 - share) for a, s in use.shares.items() if a != access}
        ends = use._replace(shares=zero), use._replace(shares={access: 1.0})
        if all(map(measurable, ends)):
            found.append(line(access, share, _SHARE, *ends, (0.0, 1.0)))
    ends = use._replace(cold=0.0), use._replace(cold=1.0)
    if all(map(measurable, ends)):
        found.append(line("cold", use.cold, _SHARE, *ends, (0.0, 1.0)))
    ends = use._replace(opens=0.0), use._replace(opens=1.0)
    if all(map(measurable, ends)):
        found.append(line("opens", use.opens, _SHARE, *ends, (0.0, 1.0)))
    slowed = {n: cost(measured, use._replace(readers=n))[:, columns] for n in measured.readers}
    slowed = {n: values for n, values in slowed.items() if not np.isnan(values[0]).any()}
    if len(slowed) > 1:
        found.append(step_flip("readers", use.readers, "concurrent readers", slowed, formats, preferred))
    inverse = line(
        "reads_per_write", use.writes_per_read, "accesses per write", use._replace(writes_per_read=0),
        use._replace(writes_per_read=1), (1 / max(MOST_READS_PER_WRITE, 1 / use.writes_per_read), 1.0),
    )  # fmt: skip
    found.append(inverted(inverse, 1 / use.writes_per_read))
    if measured.gigabytes is not None and not np.isnan(measured.gigabytes[columns]).any():
        ends = use._replace(storage_price=0), use._replace(storage_price=1)
        found.append(line("storage_price", use.storage_price, "s/GB", *ends, (0.0, np.inf)))
    return found
