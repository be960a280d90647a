"""The command line: parse arguments and make one call; the only part of the library that prints."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import FrameType

import harness
from harness import registry
from harness.cli import options
from harness.cli.parser import CommandParser, Completion, examples
from harness.errors import HarnessError, escaped
from harness.limits import limits
from harness.sampling.interrupt import ENDING, ending_alike, exit_code, interrupt

# For each command, the module whose function ``add_<command>`` adds its arguments, and its purpose. The module is
# imported when the command is called, so no command waits for the libraries of another, or fails if these are broken.
# Extensions add further commands, as entry points of the group ``harness.commands``.
_COMMANDS = {
    "run": ("running", "measure formats on traces"),
    "show": ("show", "print every cell of a run, then its answer"),
    "plot": ("running", "summarise a run again and redraw its plots"),
    "report": ("evidence", "write the report of a run: which format, by how much, and how sure"),
    "bundle": ("evidence", "pack a run into one file that anyone can check"),
    "check": ("evidence", "check that every published figure of a bundle follows from its samples"),
    "list": ("listing", "list formats, suites, traces and other plug-ins, or what they are missing"),
    "inspect": ("archives", "show what an archive holds"),
    "verify": ("archives", "check every byte of archives"),
    "convert": ("convert", "write an archive or a trace in another format, verified"),
}

_FIRST = (
    "run result.npz                          # on your arrays",
    "run --preset quick --out results/first  # or on synthetic arrays",
    "show results/first                      # its results",
)
"""Commands suggested to a new user."""


def _add_arguments(command: str, parser: argparse.ArgumentParser) -> None:
    with _ending_at_once():
        if command in _COMMANDS:
            place = f"harness.cli.{_COMMANDS[command][0]}:add_{command}"
            add = registry.imported(f"What the command {command!r} needs", place)
        else:
            add = registry.load("commands", command)
        add(parser)


@contextmanager
def _ending_at_once() -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and SIGHUP end the process while libraries are imported, which may swallow an exception."""
    before = {number: signal.getsignal(number) for number in ENDING}
    mine = [number for number, was in before.items() if was in (signal.default_int_handler, interrupt)]
    if threading.current_thread() is not threading.main_thread():
        mine = []
    for number in mine:
        signal.signal(number, _end)
    try:
        yield
    finally:
        for number in mine:
            signal.signal(number, before[number])


def _end(number: int, frame: FrameType | None) -> None:
    """End the process at once: nothing has started yet, so there is nothing to clean up."""
    os.write(2, b"harness: Interrupted.\n")
    os._exit(128 + number)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line with the given arguments, or with those of the process.

    Returns
    -------
    int
        0 on success, 1 if something failed, 2 for a usage error, 130 after Ctrl-C, 143 after SIGTERM, 129 after
        SIGHUP. These three signals let the command clean up first.
    """
    with ending_alike():
        return _main(argv)


def _main(argv: Sequence[str] | None) -> int:
    registry.forget_allowed()
    arguments = argparse.Namespace(debug=False, command=_begin)
    try:
        _parser().parse_args(argv, arguments)
        if arguments.debug:
            os.environ["HARNESS_DEBUG"] = "1"  # worker processes read it
        limits.inflated = options.max_inflated(arguments)
        return int(arguments.command(arguments))
    except HarnessError as error:
        return _failed(arguments.debug, str(error), error.exit_code)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            # The reader of the output has gone, so a message would reach nobody.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        hint = _HINTS.get(error.errno or 0, "")
        place = f"{error.filename}: " if error.filename else ""
        return _failed(arguments.debug, f"{place}{error.strerror or error}.{hint}", 1)
    except KeyboardInterrupt as error:
        return _failed(arguments.debug, "Interrupted.", exit_code(error))


_SPACE = " Free some space and run the same command again."
_HINTS = {
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: _SPACE,
    errno.ENOMEM: " Free some memory, or allow this process more of it (ulimit -v), and run the same command again.",
}
"""Advice to the user on an error of the system, by its number."""


def _failed(debug: bool, message: str, code: int) -> int:
    if debug:
        traceback.print_exc()
    print(f"harness: {escaped(message)}", file=sys.stderr)
    return code


def _begin(arguments: argparse.Namespace) -> int:
    """Print suggestions if no command was named, and return the exit code 2."""
    lines = ("harness: Say what to do, first of all one of these:", *(f"  harness {command}" for command in _FIRST))
    print(*lines, "All commands: harness --help", sep="\n", file=sys.stderr)
    return 2


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="harness",
        description="Measure which file format suits protein-model inference traces.",
        epilog=examples(*_FIRST),
    )
    parser.add_argument("--version", action="version", version=f"harness {harness.__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    completion = "print the completion for a shell, and end (default: none)"
    parser.add_argument("--completion", action=Completion, choices=("bash", "zsh", "tcsh"), help=completion)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    purposes = {name: purpose for name, (_, purpose) in _COMMANDS.items()}
    purposes |= {name: registry.purpose(name) for name in sorted(registry.names("commands"))}
    for name, purpose in purposes.items():
        said = f"{purpose[:1].upper()}{purpose[1:]}." if purpose else None
        commands.add_parser(name, help=purpose, description=said, fill=partial(_add_arguments, name))
    return parser
