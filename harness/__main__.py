"""Entry point of ``python -m harness``: start the command line.

Modules are not imported from the current folder, which may hold untrusted files. ``python -m`` would search it first,
and so would every Python process that this one starts.
"""

import sys

if __name__ == "__main__" and not sys.flags.safe_path:
    del sys.path[0]  # before any other import

import os

os.environ["PYTHONSAFEPATH"] = "1"

from harness.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
