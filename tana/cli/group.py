"""The root of the command line: loads each group of commands when it is asked for, and turns errors into words.

A validator must be up in a blink, so `tana validator run` must not pay for the imports of every other command.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Iterator, MutableMapping
from typing import Any

import typer
import typer.core
from typer.exceptions import TyperException

from tana.types.errors import SettingsError, TanaError, Unavailable

EXIT_OK = 0
EXIT_REFUSED = 1
EXIT_USAGE = 2
EXIT_UNREACHABLE = 3
EXIT_INTERRUPTED = 130
DEBUG_VARIABLE = "TANA_DEBUG"

_USAGE_CODES = ("malformed_url", "malformed_name")
"""Codes of `InvalidInput` that no service answers with: it is the command line that is wrong."""

EXIT_CODES_HELP = (
    "Exit codes: 0 done; 1 refused, or a check failed; 2 wrong usage or settings; 3 a service cannot be reached; "
    "130 interrupted. TANA_DEBUG=1 shows where an error comes from."
)

COMMANDS = {
    "keys": "keys",
    "mesh": "mesh",
    "genesis": "genesis",
    "found-chain": "found",
    "validator": "validator",
    "tx": "tx",
    "balance": "balance",
    "block": "block",
    "start": "start",
    "stop": "stop",
    "status": "status",
}
"""Command or group → the module of `tana.cli` whose `app` it is."""


class LazyCommands(MutableMapping[str, Any]):
    """The commands by name; the module of one is imported when it is looked up."""

    def __init__(self, modules: dict[str, str]) -> None:
        self._modules = modules
        self._added: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._added:
            module = importlib.import_module(f"tana.cli.{self._modules[name]}")
            command = typer.main.get_command(module.app)
            command.name = name
            self._added[name] = command
        return self._added[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._added[name] = command

    def __delitem__(self, name: str) -> None:
        del self._added[name]

    def __iter__(self) -> Iterator[str]:
        return iter([*self._modules, *(name for name in self._added if name not in self._modules)])

    def __len__(self) -> int:
        return len(list(iter(self)))


class TanaGroup(typer.core.TyperGroup):
    """The `tana` command itself."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = LazyCommands(COMMANDS)

    def invoke(self, ctx: Any) -> Any:
        """Run the command. A `TanaError` or a bug ends in words and an exit code, never in a stack trace."""
        try:
            return super().invoke(ctx)
        except TanaError as error:
            print_error(error)
            raise typer.Exit(get_exit_code(error)) from None
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            raise typer.Exit(EXIT_INTERRUPTED) from None
        except (typer.Exit, typer.Abort, TyperException, BrokenPipeError):
            raise
        except Exception as error:
            _print_bug(error)
            raise typer.Exit(EXIT_REFUSED) from None


def get_exit_code(error: TanaError) -> int:
    """The exit code that an error ends a command with."""
    if isinstance(error, Unavailable):
        return EXIT_UNREACHABLE
    is_usage = isinstance(error, SettingsError) or error.code in _USAGE_CODES
    return EXIT_USAGE if is_usage else EXIT_REFUSED


def print_error(error: TanaError) -> None:
    """Two lines on stderr: what is wrong, and what to do about it."""
    print(f"error: {error.message}", file=sys.stderr)
    if error.remedy:
        print(f"  → {error.remedy}", file=sys.stderr)
    if _is_debugging():
        traceback.print_exception(error)


def _print_bug(error: Exception) -> None:
    print(f"error: something went wrong inside tana: {type(error).__name__}: {error}", file=sys.stderr)
    if _is_debugging():
        traceback.print_exception(error)
    else:
        print(f"  → run the same command with {DEBUG_VARIABLE}=1 for the trace, and report it", file=sys.stderr)


def _is_debugging() -> bool:
    return os.environ.get(DEBUG_VARIABLE, "") not in ("", "0")
