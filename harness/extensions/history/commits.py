"""The commits between two runs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import harness
from harness.extensions.history.record import RunRecord


def commit_range(before: RunRecord, after: RunRecord, repository: Path | None = None) -> str:
    """Name the commits that a step may come from.

    Parameters
    ----------
    before, after : RunRecord
        The last run before the step, and the first one after it.
    repository : Path, optional
        A git repository that may have them; by default the checkout that this library runs from.

    Returns
    -------
    str
        Such as ``abc1234..def5678 (3 commits)``; without the number where the repository does not have both, and the
        names of the runs where no commit was recorded.
    """
    if before.commit is None or after.commit is None:
        return f"{before.run_id}..{after.run_id} (no commits recorded)"
    if before.commit == after.commit:
        dirty = " with uncommitted changes" if before.dirty or after.dirty else ""
        return f"{after.commit[:7]} both times{dirty}"
    count = _count(before.commit, after.commit, repository or Path(harness.__file__).parent.parent)
    number = "" if count is None else f" ({count} commit{'' if count == 1 else 's'})"
    return f"{before.label}..{after.label}{number}"


def _count(before: str, after: str, repository: Path) -> int | None:
    """Return how many commits lead from one to another; None where git or the repository cannot tell."""
    command = ["git", "-C", str(repository), "rev-list", "--count", f"{before}..{after}", "--"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return int(found.stdout)
