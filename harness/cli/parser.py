"""Parser of the command line: no abbreviated options, errors of one sentence, help with defaults and examples."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from harness import registry
from harness.errors import UsageError, unknown_name

_EXAMPLES = "examples:"
_OPTIONS = argparse.Action([], "options", metavar="[options]")
"""Placeholder in a usage line for all options that may be left out, which the help lists below."""


def examples(*commands: str) -> str:
    """Return the ``epilog`` of a command's help with example commands, given without the program's name."""
    return "\n".join((_EXAMPLES, *(f"  harness {command}" for command in commands)))


class _Help(argparse.HelpFormatter):
    """Help formatter that shows the default of every option that has one, and examples unchanged."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if text.startswith(_EXAMPLES) else super()._fill_text(text, width, indent)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        none = not action.option_strings or action.nargs == 0 or action.default in (None, [], argparse.SUPPRESS)
        said = action.help
        return said if none or not said or "default" in said else f"{said} (default: %(default)s)"

    def _format_usage(
        self, usage: str | None, actions: Iterable[argparse.Action], groups: Iterable[Any], prefix: str | None
    ) -> str:
        if prefix != "":  # empty if argparse formats the names that precede those of subcommands
            actions = [_OPTIONS, *(one for one in actions if one.required or not one.option_strings)]
        return super()._format_usage(usage, actions, [], prefix)


class Completion(argparse.Action):
    """Action that prints the completion script of a shell and exits, as ``--version`` does."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: Any = None) -> None:
        """Create the script with shtab from the arguments of all commands."""
        registry.require_package("Completion", "shtab", "trace-format-harness[completion]")
        import shtab

        for commands in (action for action in parser._actions if isinstance(action, argparse._SubParsersAction)):
            for command in commands.choices.values():
                command.fill()
        print(shtab.complete(parser, values))
        parser.exit()


class CommandParser(argparse.ArgumentParser):
    """An `ArgumentParser` that calls the function `fill` to add its arguments when it first parses."""

    def __init__(self, *, fill: Callable[[argparse.ArgumentParser], None] | None = None, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=_Help, **settings)
        self._fill = fill

    def fill(self) -> None:
        """Add the arguments, unless they were added before."""
        fill, self._fill = self._fill, None
        if fill is not None:
            fill(self)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse arguments; raise UsageError with the most similar option for an unknown one."""
        self.fill()
        found, beyond = super().parse_known_args(args, namespace)
        if options := [text.partition("=")[0] for text in beyond if text.startswith("-")]:
            raise unknown_name(f"option of {self.prog!r}", options[0], self._option_string_actions)
        if beyond:
            self.error(f"there is no place for {beyond[0]!r}")
        return found, beyond

    def error(self, message: str) -> NoReturn:
        """Raise UsageError with the message, instead of printing a usage that fills a screen."""
        raise UsageError(f"{message}; see '{self.prog} --help'.")
