"""The rows of the state: their keys, and what their values mean.

    account/ + 32-byte public key    role, next nonce, balances in smallest units by currency code (no zeros)
    profile/ + 32-byte public key    username, display name, bio
    username/ + name                 the 32-byte public key that has it
    supply/ + currency code          the sum of all balances of that currency
    validators                       the set that decides the next height, with its priorities
    validators/since                 the heights from which other members decide, ascending: of the evidence window
    validators/from/ + height        the members (key, power, node id) that decide from that height on
    punished/ + 32-byte public key   what was proven against a validator: it votes no more, ever

Values are msgpack in one fixed form (arrays, maps with sorted keys), so that equal states have equal bytes. Every
`decode_…` raises `StorageError` where a row is malformed.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from tana.ledger.accounts import Account, Profile, Punishment
from tana.types.errors import StorageError
from tana.types.validator_set import Members, ValidatorSet

_Row = TypeVar("_Row")

ACCOUNT_PREFIX = b"account/"
PROFILE_PREFIX = b"profile/"
USERNAME_PREFIX = b"username/"
SUPPLY_PREFIX = b"supply/"
VALIDATORS_KEY = b"validators"
SINCE_KEY = b"validators/since"
MEMBERS_PREFIX = b"validators/from/"
PUNISHED_PREFIX = b"punished/"
_TEXT_PREFIX_LENGTH = len("ed25519_")


_encoder = msgspec.msgpack.Encoder(order="deterministic")
_account_decoder = msgspec.msgpack.Decoder(Account)
_profile_decoder = msgspec.msgpack.Decoder(Profile)
_units_decoder = msgspec.msgpack.Decoder(int)
_validators_decoder = msgspec.msgpack.Decoder(list[tuple[bytes, int, str, int]])
_members_decoder = msgspec.msgpack.Decoder(list[tuple[bytes, int, str]])
_since_decoder = msgspec.msgpack.Decoder(tuple[int, ...])
_punishment_decoder = msgspec.msgpack.Decoder(Punishment)

encode_row = _encoder.encode
"""The bytes of a row's value."""


def get_public_key(account_id: str) -> bytes:
    """The 32 bytes of a well-formed account id (`ed25519_` + 64 lower-case hex)."""
    return bytes.fromhex(account_id[_TEXT_PREFIX_LENGTH:])


def account_key(account_id: str) -> bytes:
    """The row that holds an account."""
    return ACCOUNT_PREFIX + get_public_key(account_id)


def username_key(username: str) -> bytes:
    """The row that says who has a username."""
    return USERNAME_PREFIX + username.encode("ascii")


def supply_key(code: str) -> bytes:
    """The row that holds the sum of all balances of a currency."""
    return SUPPLY_PREFIX + code.encode("ascii")


def members_key(height: int) -> bytes:
    """The row that holds the members that decide from a height on."""
    return MEMBERS_PREFIX + height.to_bytes(8, "big")


def punished_key(public_key: bytes) -> bytes:
    """The row that holds what was proven against a validator."""
    return PUNISHED_PREFIX + public_key


def decode_account(row: bytes) -> Account:
    return _decode(_account_decoder, row, "an account")


def decode_profile(row: bytes) -> Profile:
    return _decode(_profile_decoder, row, "a profile")


def decode_units(row: bytes) -> int:
    """An amount in smallest units."""
    return _decode(_units_decoder, row, "an amount")


def decode_validators(row: bytes | None) -> ValidatorSet:
    rows = _decode(_validators_decoder, row, "a validator set")
    return ValidatorSet.from_rows(rows)


def decode_members(row: bytes | None) -> Members:
    rows = _decode(_members_decoder, row, "a validator set's members")
    return Members.from_rows(rows)


def decode_since(row: bytes | None) -> tuple[int, ...]:
    """The heights from which other members decide, ascending."""
    return _decode(_since_decoder, row, "the heights of the validator sets")


def decode_punishment(row: bytes) -> Punishment:
    return _decode(_punishment_decoder, row, "a punishment")


def _decode(decoder: msgspec.msgpack.Decoder[_Row], row: bytes | None, what: str) -> _Row:
    try:
        return decoder.decode(row or b"")
    except msgspec.DecodeError as error:
        raise StorageError(f"the state has no readable row of {what}: {error}") from None
