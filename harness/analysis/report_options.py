"""Options of a report in addition to the measurements, and the version of its document."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from harness.analysis.choice.mix import Mix
from harness.documents import decode
from harness.files import read_bytes
from harness.run.config import RunConfig

REPORT_VERSION = 13
"""New in 13: other sentences on pages. New in 12: `STOCK_USES_SINCE`. New in 11: `SIMILAR_SINCE`. New in 10:
``decoded_cache`` of summaries, and other sentences about reads below raw."""

FIRST_REPORT_VERSION = 9
"""First version that can be read: published bundles have it."""

SIMILAR_SINCE = 11
"""First version whose verdicts on formats at their best use A/A controls with similar times."""

STOCK_USES_SINCE = 12
"""First version that decides for a use by stock readers alone. At its best, a format reads from several archives, and
nobody keeps more than one."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of a report, in addition to the measurements.

    Attributes
    ----------
    baseline : str or None
        The format that ratios refer to; None for no ratios, if the run's own was not measured.
    mix : Mix or None
        How the archive will be used; None for every preset.
    earlier : bool
        Whether to compare the grades and the decision of an earlier comparison with what was measured.
    """

    baseline: str | None
    mix: Mix | None = None
    earlier: bool = False

    def to_document(self) -> dict[str, Any]:
        """Return plain values for ``report.json``."""
        asked = {"earlier": True} if self.earlier else {}
        return {"baseline": self.baseline, "mix": self.mix.to_dict() if self.mix else None, **asked}


class _Asked(msgspec.Struct):
    """The part of ``report.json`` that is read; all else in it follows from the samples."""

    report_version: int
    options: Options


def _asked(text: bytes, where: object) -> _Asked:
    mend, known = "make the report again with 'harness report RUN'", range(FIRST_REPORT_VERSION, REPORT_VERSION + 1)
    other = f"{mend}, or use the version of the harness that wrote it"
    return decode(text, _Asked, where, version=("report_version", *known), mend=mend, other=other, extra=True)


def find_options(folder: Path, text: bytes | None = None) -> Options:
    """Return the options of a run's last report; without a report, the run's own baseline and every preset mix.

    Parameters
    ----------
    folder : Path
        The run's folder.
    text : bytes, optional
        The content of a report to read, in place of the folder's.

    Raises
    ------
    HarnessError
        If the folder holds no run, or ``report.json`` is damaged or of a version that this reader does not know.
    """
    config = RunConfig.read(folder / "run.json")
    path = folder / "report.json"
    if text is None and not path.exists():
        return Options(baseline=config.baseline)
    return _asked(read_bytes(path) if text is None else text, path).options


def version_of(text: bytes) -> int:
    """Return the version of a published ``report.json``; raise errors as `find_options`."""
    return _asked(text, "report.json").report_version
