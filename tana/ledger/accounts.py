"""What the state holds of an account, of its profile, and of a validator's offence: values of rows."""

from __future__ import annotations

import msgspec


class Account(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """An account: role, the nonce its next transaction must have, balances in smallest units by currency code."""

    role: str
    nonce: int
    balances: dict[str, int]

    def get_balance(self, code: str) -> int:
        """Smallest units held in a currency, 0 for one that the account does not hold."""
        return self.balances.get(code, 0)


class Profile(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What an account shows of itself. `username` is unique, or empty for an account of the genesis."""

    username: str
    display_name: str = ""
    bio: str = ""


class Punishment(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a validator was convicted of: kind and height of the offence, and the height of the block that says so."""

    kind: str
    offence_height: int
    block_height: int
