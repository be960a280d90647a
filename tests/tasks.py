"""Tasks for workers, in a module that a worker process can import by this name."""

from __future__ import annotations

import signal


class Blocked:
    """Tells whether the worker would hear Ctrl-C."""

    def run(self, children: object) -> bool:
        return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])
