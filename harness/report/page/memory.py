"""What warm means for archives that are large beside the machine's memory, in words."""

from __future__ import annotations

import pandas as pd

from harness.analysis import formatting as words
from harness.analysis.accesses import archive_sizes
from harness.analysis.findings import Findings
from harness.records import CONTROL
from harness.sampling.cache import BESIDE_OTHERS, WARM_FROM


def warm_limits(findings: Findings) -> list[str]:
    """Say which archives were too large to be in the page cache, as a whole or beside those of other formats.

    Parameters
    ----------
    findings : Findings
        Of a run; without the machine's memory or the sizes of archives, nothing can be said.

    Returns
    -------
    list of str
        At most two sentences.
    """
    memory = findings.session.get("memory_limit_bytes") or findings.session.get("memory_bytes")
    if not memory or findings.config.store or "warm" not in findings.config.caches:
        return []
    archives = archive_sizes(findings.samples)
    archives = archives[archives["format"] != CONTROL]
    archives = archives.drop_duplicates(["trace", "n_res", "format", "profile"])
    large = archives[archives["size_bytes"] > BESIDE_OTHERS * memory]
    larger = large[large["size_bytes"] > memory]
    said = []
    if len(larger):
        said.append(
            f"{words.size(memory)} of memory cannot hold {_named(larger)}: a warm read of much of it is rejected."
        )
    if len(large):
        said.append(
            f"{_named(large)} take more than {words.percent(BESIDE_OTHERS)} of {words.size(memory)} of memory each, "
            "and archives of several formats push each other out of it: for an access that asks for little of such a "
            "trace each archive, of any format, is warmed by the same read just before, and warm when that took at "
            f"most {words.percent(1 - WARM_FROM)} of its data from the disk."
        )
    return said


def _named(archives: pd.DataFrame) -> str:
    """Name archives by format, length and size."""
    return words.listed(
        f"{row['format']}{_length(row['n_res'])} ({words.size(row['size_bytes'])})"
        for row in archives.sort_values("size_bytes", ascending=False).to_dict("records")
    )


def _length(n_res: float) -> str:
    return "" if pd.isna(n_res) else f" at {int(n_res)} residues"
