"""What the long commands of `testbed` share: how they name their processes, tell how far they are, and end."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from tana.types.errors import TanaError
from testbed.verdict import Outcome

PLAIN_INTERVAL_S = 10.0
"""Without a terminal: how often a line tells how far it is."""

Jobs = Annotated[str, typer.Option(help="Processes, or auto for one on each core.")]


@contextmanager
def told() -> Iterator[None]:
    """Errors of ours end the command with 2 and their words, an interruption with 130."""
    try:
        yield
    except TanaError as error:
        typer.echo(f"could not tell: {error}", err=True)
        raise typer.Exit(Outcome.COULD_NOT_TELL.exit_code) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


class Progress:
    """One calm line that is written over on a terminal, a line now and then elsewhere."""

    def __init__(self, *, is_silent: bool = False) -> None:
        self._is_silent = is_silent
        self._is_terminal = sys.stderr.isatty()
        self._shown = time.monotonic()

    def show(self, line: str) -> None:
        if self._is_silent:
            return
        if self._is_terminal:
            sys.stderr.write(f"\r\x1b[K{line}")
            sys.stderr.flush()
        elif time.monotonic() - self._shown > PLAIN_INTERVAL_S:
            self._shown = time.monotonic()
            typer.echo(line, err=True)

    def end(self) -> None:
        if self._is_terminal and not self._is_silent:
            sys.stderr.write("\r\x1b[K")
