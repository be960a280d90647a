"""The parser of the command line: full names alone, one sentence for what is wrong, help with defaults and examples."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from harness import registry
from harness.errors import UsageError, unknown_name

_EXAMPLES = "examples:"
_OPTIONS = argparse.Action([], "options", metavar="[options]")
"""Stands in a usage for all options that may be left out: each is listed below it."""


def examples(*commands: str) -> str:
    """Return the end of a command's help, its ``epilog``: commands as they are typed, without the program's name."""
    return "\n".join((_EXAMPLES, *(f"  harness {command}" for command in commands)))


class _Help(argparse.HelpFormatter):
    """Shows the default of every option that has one, and examples as they stand."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if text.startswith(_EXAMPLES) else super()._fill_text(text, width, indent)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        none = not action.option_strings or action.nargs == 0 or action.default in (None, [], argparse.SUPPRESS)
        said = action.help
        return said if none or not said or "default" in said else f"{said} (default: %(default)s)"

    def _format_usage(
        self, usage: str | None, actions: Iterable[argparse.Action], groups: Iterable[Any], prefix: str | None
    ) -> str:
        if prefix != "":  # which asks for the names of commands to come before those of their own
            actions = [_OPTIONS, *(one for one in actions if one.required or not one.option_strings)]
        return super()._format_usage(usage, actions, [], prefix)


class Completion(argparse.Action):
    """Prints the completion of a shell and ends, as ``--version`` does."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: Any = None) -> None:
        """Make it with shtab from the arguments of all commands."""
        registry.require_package("Completion", "shtab", "trace-format-harness[completion]")
        import shtab

        for commands in (action for action in parser._actions if isinstance(action, argparse._SubParsersAction)):
            for command in commands.choices.values():
                command.fill()
        print(shtab.complete(parser, values))
        parser.exit()


class CommandParser(argparse.ArgumentParser):
    """A parser that calls `fill` to add its arguments when it first parses; other settings as `ArgumentParser`."""

    def __init__(self, *, fill: Callable[[argparse.ArgumentParser], None] | None = None, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=_Help, **settings)
        self._fill = fill

    def fill(self) -> None:
        """Add the arguments, unless they are there."""
        fill, self._fill = self._fill, None
        if fill is not None:
            fill(self)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse arguments; UsageError with the nearest option for one that is not known."""
        self.fill()
        found, beyond = super().parse_known_args(args, namespace)
        if options := [text.partition("=")[0] for text in beyond if text.startswith("-")]:
            raise unknown_name(f"option of {self.prog!r}", options[0], self._option_string_actions)
        if beyond:
            self.error(f"there is no place for {beyond[0]!r}")
        return found, beyond

    def error(self, message: str) -> NoReturn:
        """Raise what is wrong as a UsageError, in place of a usage that fills a screen."""
        raise UsageError(f"{message}; see '{self.prog} --help'.")
