"""What several commands share: options, the shape of a group, help texts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_MESH_URL = "http://localhost:8190"
DEFAULT_LEDGER_URL = "http://localhost:8080"
DEFAULT_CHANGE_TIMEOUT_MS = 600_000
DEFAULT_DATA = Path("~/.local/share/tana")

MeshUrl = Annotated[str, typer.Option("--mesh-url", envvar="MESH_URL", help="Where the mesh answers.")]
LedgerUrl = Annotated[
    str, typer.Option("--ledger-url", envvar="TANA_LEDGER_URL", help="Where a validator's ledger answers.")
]
FoundLedgerUrl = Annotated[
    str | None,
    typer.Option(
        "--ledger-url",
        envvar="TANA_LEDGER_URL",
        help="Where a validator's ledger answers; default one that the mesh knows.",
    ),
]
ChangeTimeoutMs = Annotated[
    int, typer.Option("--timeout-ms", min=1, help="How long to wait for the node to catch up, and for each change.")
]
SovereignKeyFile = Annotated[
    str | None,
    typer.Option(
        "--sovereign-key",
        metavar="FILE",
        help="The sovereign's key file; default sovereign-key.json in TANA_CONFIG_DIR.",
    ),
]
SovereignPublicKey = Annotated[
    str | None,
    typer.Option(
        "--sovereign",
        envvar=["TANA_SOVEREIGN", "MESH_SOVEREIGN"],
        metavar="PUBLIC_KEY",
        help="The sovereign's public key, a key's name or a key file; default the sovereign's key file.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
DataFolderOption = Annotated[
    Path, typer.Option("--data", metavar="DIR", help="The folder of the mesh's and the validator's data and logs.")
]


def make_group(help_text: str, example: str) -> typer.Typer:
    """A group of commands, as each module of one holds it in `app`."""
    group = typer.Typer(
        help=help_text, epilog=show_example(example), no_args_is_help=True, rich_markup_mode=None, add_completion=False
    )
    # Without a callback Typer would turn a group of one command into that command.
    group.callback()(lambda: None)
    return group


def make_command() -> typer.Typer:
    """The `app` of a module that holds a single command."""
    return typer.Typer(rich_markup_mode=None, add_completion=False)


def show_example(*commands: str, after: str = "") -> str:
    """The epilog of a command's help. The \\b keeps the lines apart."""
    word = "Example" if len(commands) == 1 else "Examples"
    lines = "\n".join(f"  {command}" for command in commands)
    return f"\b\n{word}:\n{lines}" + (f"\n\n{after}" if after else "")
