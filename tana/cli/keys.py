"""`tana keys`: make and show key files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tana.cli.accounts import find_key_file
from tana.cli.options import AsJson, make_group, show_example
from tana.cli.output import print_fields, print_json, print_table
from tana.client import keyfiles
from tana.crypto.address import TEST_VERSION, compute_address
from tana.crypto.keys import KeyPair, format_public_key
from tana.types.errors import InvalidInput, SettingsError

app = make_group("Make and show key files. A private key is never printed.", "tana keys new sovereign")


@app.command(epilog=show_example("tana keys new sovereign", "tana keys new alice", "tana keys new --out ./bob.json"))
def new(
    name: Annotated[str | None, typer.Argument(help="The key's name, such as sovereign or alice.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="The file to write, instead of NAME-key.json.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing key for good.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a key and write it to NAME-key.json in TANA_CONFIG_DIR (default ~/.config/tana)."""
    if (name is None) == (out is None):
        raise typer.BadParameter("give either a name or --out FILE")
    path = out if out is not None else _get_path(name or "")
    keypair = KeyPair.generate()
    keyfiles.write_key(path, keypair, force=force)
    if as_json:
        print_json(_describe(path, keypair.public_key))
        return
    print_fields(_describe(path, keypair.public_key))
    if name == keyfiles.SOVEREIGN:
        print(f"next: tana mesh serve --sovereign {keypair.public_text}")


@app.command(epilog=show_example("tana keys show", "tana keys show sovereign", "tana keys show ./bob.json --json"))
def show(
    name: Annotated[str | None, typer.Argument(metavar="[NAME|FILE]", help="Default: every key.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the public key and address of a key, or list every key in TANA_CONFIG_DIR."""
    if name is not None:
        path = find_key_file(name)
        described = _describe(path, keyfiles.read_public_key(path))
        print_json(described) if as_json else print_fields(described)
        return
    folder = keyfiles.get_config_dir()
    found = [_describe_leniently(path) for path in sorted(folder.glob("*key*.json"))]
    if as_json:
        print_json({"folder": str(folder), "keys": found})
    elif found:
        print_table(
            ("FILE", "PUBLIC KEY"), ((Path(key["file"]).name, key.get("publicKey", key.get("error"))) for key in found)
        )
    else:
        print(f"there are no keys in {folder}; make one with `tana keys new NAME`")


def _get_path(name: str) -> Path:
    try:
        return keyfiles.get_named_key_path(name)
    except InvalidInput as error:
        raise SettingsError(error.message, remedy=error.remedy, field="name") from None


def _describe(path: Path, public_key: bytes) -> dict[str, Any]:
    return {
        "publicKey": format_public_key(public_key),
        "address": compute_address(public_key),
        "testAddress": compute_address(public_key, version=TEST_VERSION),
        "file": str(path),
    }


def _describe_leniently(path: Path) -> dict[str, Any]:
    try:
        return _describe(path, keyfiles.read_public_key(path))
    except SettingsError as error:
        return {"file": str(path), "error": error.message}
