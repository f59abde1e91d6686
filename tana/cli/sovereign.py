"""Whom to trust: the sovereign's public key, as a person gives it or as this machine already knows it."""

from __future__ import annotations

from tana.cli.accounts import read_public_text
from tana.client import keyfiles
from tana.crypto.keys import format_public_key


def find_sovereign(option: str | None) -> str | None:
    """The printed public key of the sovereign to trust: the option's, else that of the sovereign's key file, else None.

    Raises `SettingsError`.
    """
    if option is not None:
        return read_public_text(option)
    path = keyfiles.get_sovereign_key_path()
    return format_public_key(keyfiles.read_public_key(path)) if path.exists() else None
