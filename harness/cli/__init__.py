"""The command line: arguments in, one call out; the only part of the library that prints."""

from __future__ import annotations

import argparse
import errno
import os
import sys
import traceback
from collections.abc import Sequence

import harness
from harness.cli import (
    archives,
    capture,
    comparing,
    convert,
    evidence,
    history,
    imports,
    options,
    predictions,
    projecting,
    running,
    tuning,
)
from harness.errors import HarnessError
from harness.files import limits


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; those of the process when None.

    Returns
    -------
    int
        0 on success, 1 when something failed, 2 for a usage error, 130 after Ctrl-C.
    """
    arguments = _parser().parse_args(argv)
    if arguments.debug:
        os.environ["HARNESS_DEBUG"] = "1"  # worker processes look there
    try:
        limits.inflated = options.max_inflated(arguments)
        return int(arguments.command(arguments))
    except HarnessError as error:
        return _failed(arguments.debug, str(error), error.exit_code)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            # Whoever read our output went away; there is nobody left to tell.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        hint = " Free some space and continue with --resume." if error.errno == errno.ENOSPC else ""
        place = f"{error.filename}: " if error.filename else ""
        return _failed(arguments.debug, f"{place}{error.strerror or error}.{hint}", 1)
    except KeyboardInterrupt:
        return _failed(arguments.debug, "Interrupted.", 130)


def _failed(debug: bool, message: str, code: int) -> int:
    if debug:
        traceback.print_exc()
    print(f"harness: {message}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="harness", description="Measure which file format suits protein-model inference traces."
    )
    parser.add_argument("--version", action="version", version=f"harness {harness.__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    running.add_commands(commands)
    evidence.add_commands(commands)
    history.add_commands(commands)
    capture.add_commands(commands)
    archives.add_commands(commands)
    convert.add_commands(commands)
    imports.add_commands(commands)
    predictions.add_commands(commands)
    tuning.add_commands(commands)
    comparing.add_commands(commands)
    projecting.add_commands(commands)
    return parser
