"""A cell says so when its data fit the cache of decoded chunks of its reader, and only where that plays a part."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from harness.analysis.decoded_cache import DECODED, with_decoded
from harness.run.subject import Subject
from harness.testing.samples import manifest_of
from harness.trace.schema import tensor
from harness.workload import Read, ReadAccess

SPECS = [tensor(f"pair/layer_{k}", (16, 16, 4), "float32") for k in range(2)]
NBYTES = 16 * 16 * 4 * 4
WINDOW = (slice(0, 4), slice(0, 4), slice(0, 4))


def reads(*layers: int) -> tuple[Read, ...]:
    return tuple(Read(path=f"pair/layer_{layer}", selection=WINDOW) for layer in layers)


ACCESSES = {
    "once": ReadAccess(name="once", reads=reads(0, 1)),
    "twice": ReadAccess(name="twice", reads=reads(0, 1, 0)),
    "both": ReadAccess(name="both", reads=reads(0, 1, 0, 1)),
    "load_once": ReadAccess(name="load_once", reads=reads(0, 0), load_once=True),
}
PLANS = tuple(("random_access", access) for access in ACCESSES.values())
SUBJECT = Subject("t", "t", 16, 16, manifest_of(dict.fromkeys(SPECS, np.empty(0))), PLANS)


def marked(kept: str, budget: int | None = None) -> list[str]:
    """List the accesses that are marked, of a reader that keeps so many bytes of a tensor."""
    place = {"trace": "t", "format": "hdf5", "profile": "tuned"}
    ledger = pd.DataFrame([place | {"n_res": "16", "read_by": "h5py", "role": "pair", "cache_bytes": kept}])
    rows = [
        place | {"suite": "random_access", "access": name, "n_res": 16, "reader": "h5py", "cache": "warm"}
        for name in ACCESSES
    ]
    found = with_decoded(pd.DataFrame(rows), [SUBJECT], ledger, budget)
    assert set(found["decoded_cache"].dropna()) <= {DECODED}
    return list(found.loc[found["decoded_cache"].notna(), "access"])


@pytest.mark.parametrize(
    ("kept", "budget", "expected"),
    [
        (str(NBYTES), None, ["twice", "both"]),
        (str(NBYTES - 1), None, []),
        ("0", None, []),
        ("", None, []),
        (str(NBYTES), NBYTES, ["twice"]),
        (str(NBYTES), 2 * NBYTES, ["twice", "both"]),
        (str(NBYTES), 0, []),
    ],
)
def test_a_cell_is_marked_where_what_it_reads_again_fits(kept: str, budget: int | None, expected: list[str]) -> None:
    assert marked(kept, budget) == expected


def test_nothing_is_known_of_a_run_whose_ledger_has_no_figure() -> None:
    rows = [{"suite": "random_access", "access": "both", "trace": "t", "n_res": 16, "format": "hdf5",
             "profile": "tuned", "reader": "h5py", "cache": "warm"}]  # fmt: skip
    found = with_decoded(pd.DataFrame(rows), [SUBJECT], pd.DataFrame({"format": ["hdf5"]}), None)
    assert found["decoded_cache"].isna().all()
