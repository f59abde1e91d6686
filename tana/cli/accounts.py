"""What a person may write where a key or an account is meant, and the key behind it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tana.client import keyfiles
from tana.crypto.keys import KEY_PREFIX, KeyPair, format_public_key, parse_public_key
from tana.types.errors import InvalidInput, SettingsError

if TYPE_CHECKING:
    from tana.client.validator import ValidatorClient

KEY_HELP = "a key's name (alice, sovereign, a node id) or a key file"
ACCOUNT_HELP = "a public key (ed25519_…), a username (@alice), a key's name or a key file"


def read_signing_key(name_or_path: str) -> KeyPair:
    """The key pair that `--key` names. Raises `SettingsError`."""
    return keyfiles.read_key(find_key_file(name_or_path))


def find_key_file(name_or_path: str) -> Path:
    """The file that a name or a path means. Raises `SettingsError` for what can be neither."""
    try:
        return keyfiles.find_key_path(name_or_path)
    except InvalidInput as error:
        raise SettingsError(error.message, remedy=error.remedy, code=error.code, field=error.field) from None


def read_public_text(text: str) -> str:
    """The printed lower-case public key that a key, a key's name or a file means. Raises `SettingsError`."""
    if not text.startswith(KEY_PREFIX):
        return format_public_key(keyfiles.read_public_key(find_key_file(text)))
    try:
        return format_public_key(parse_public_key(text, "the public key"))
    except InvalidInput as error:
        raise SettingsError(error.message, remedy=error.remedy, code=error.code, field=error.field) from None


def find_account(text: str, client: ValidatorClient) -> str:
    """The account that `text` means; a username is looked up on the chain. Raises `SettingsError`."""
    if not text.startswith("@"):
        return read_public_text(text)
    for user in client.list_users():
        if user["username"] == text:
            return str(user["id"])
    raise SettingsError(
        f"the chain has no user {text}",
        remedy="check the name, or create the user with `tana tx user`",
        code="unknown_user",
    )
