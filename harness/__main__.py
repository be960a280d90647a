"""Start the command line. Its imports take a while, in which Ctrl-C ends it with as few words as later."""

from __future__ import annotations

import os
import signal
from types import FrameType


def _end(number: int, frame: FrameType | None) -> None:
    """End at once: nothing is begun yet, and an exception inside another library's import may not come through."""
    os.write(2, b"harness: Interrupted.\n")
    os._exit(130)


_before = signal.getsignal(signal.SIGINT)
if _before is signal.default_int_handler:
    signal.signal(signal.SIGINT, _end)

from harness.cli import main  # noqa: E402 - only now

if _before is signal.default_int_handler:
    signal.signal(signal.SIGINT, _before)

if __name__ == "__main__":
    raise SystemExit(main())
