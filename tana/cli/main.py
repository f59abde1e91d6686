"""`tana`: the command line of validators, sovereigns and users. See `group.COMMANDS` for where a command lives."""

from __future__ import annotations

from typing import Annotated

import typer

from tana import __version__
from tana.cli.group import EXIT_CODES_HELP, TanaGroup
from tana.cli.options import show_example

app = typer.Typer(
    name="tana",
    cls=TanaGroup,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"tana {__version__}")
        raise typer.Exit


@app.callback(epilog=show_example("tana start --dev", after=EXIT_CODES_HELP))
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Run, join and use a Tana validator network."""


def main() -> None:
    """The entry point of the `tana` command."""
    app(prog_name="tana")


if __name__ == "__main__":
    main()
