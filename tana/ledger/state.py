"""The state: what its rows mean, and a typed view that collects changes on top of a tree.

    account/ + 32-byte public key    role, next nonce, balances in smallest units by currency code (no zeros)
    profile/ + 32-byte public key    username, display name, bio
    username/ + name                 the 32-byte public key that has it
    supply/ + currency code          the sum of all balances of that currency
    validators                       the set that decides the next height, with its priorities
    validators/since                 the heights from which other members decide, ascending: of the evidence window
    validators/from/ + height        the members (key, power, node id) that decide from that height on
    punished/ + 32-byte public key   what was proven against a validator: it votes no more, ever

After block h the last of `validators/since` is at most h + 2. What a block changes is in force two heights on: so the
members of h + 1 are known before block h + 1 is proposed, and its header can name them. The members of earlier heights
stay as long as evidence of those heights may come.

Values are msgpack in one fixed form (arrays, maps with sorted keys), so that equal states have equal bytes.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

import msgspec

from tana.ledger.tree import StateTree
from tana.types.errors import StorageError
from tana.types.validator_set import Members, ValidatorSet

ACCOUNT_PREFIX = b"account/"
PROFILE_PREFIX = b"profile/"
USERNAME_PREFIX = b"username/"
SUPPLY_PREFIX = b"supply/"
VALIDATORS_KEY = b"validators"
SINCE_KEY = b"validators/since"
MEMBERS_PREFIX = b"validators/from/"
PUNISHED_PREFIX = b"punished/"
_TEXT_PREFIX_LENGTH = len("ed25519_")

Changes = tuple[tuple[bytes, bytes | None], ...]
"""Rows and their new values (None: the row goes), sorted by key."""


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


_encoder = msgspec.msgpack.Encoder(order="deterministic")
_account_decoder = msgspec.msgpack.Decoder(Account)
_profile_decoder = msgspec.msgpack.Decoder(Profile)
_units_decoder = msgspec.msgpack.Decoder(int)
_validators_decoder = msgspec.msgpack.Decoder(list[tuple[bytes, int, str, int]])
_members_decoder = msgspec.msgpack.Decoder(list[tuple[bytes, int, str]])
_since_decoder = msgspec.msgpack.Decoder(tuple[int, ...])
_punishment_decoder = msgspec.msgpack.Decoder(Punishment)


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
    """The account of its row. Raises `StorageError` where the row is malformed."""
    try:
        return _account_decoder.decode(row)
    except msgspec.DecodeError as error:
        raise StorageError(f"an account's row is malformed: {error}") from None


def decode_validators(row: bytes | None) -> ValidatorSet:
    """The validator set of its row. Raises `StorageError` where the row is missing or malformed."""
    try:
        return ValidatorSet.from_rows(_validators_decoder.decode(row or b""))
    except msgspec.DecodeError as error:
        raise StorageError(f"the state has no readable validator set: {error}") from None


class State:
    """A tree and the changes made on top of it. The tree stays as it is; accounts are decoded once."""

    def __init__(self, tree: StateTree) -> None:
        self._tree = tree
        self._old: dict[bytes, bytes | None] = {}
        self._new: dict[bytes, bytes | None] = {}
        self._accounts: dict[str, Account | None] = {}
        self._changed_accounts: dict[str, Account] = {}
        self._upcoming: Members | None = None

    def get_account(self, account_id: str) -> Account | None:
        """An account by its printed public key, None where there is none."""
        try:
            return self._accounts[account_id]
        except KeyError:
            row = self._get_old(account_key(account_id))
            account = None if row is None else decode_account(row)
            self._accounts[account_id] = account
            return account

    def set_account(self, account_id: str, account: Account) -> None:
        self._accounts[account_id] = account
        self._changed_accounts[account_id] = account

    def get_profile(self, account_id: str) -> Profile | None:
        row = self._get(PROFILE_PREFIX + get_public_key(account_id))
        return None if row is None else _decode(_profile_decoder, row)

    def set_profile(self, account_id: str, profile: Profile) -> None:
        """Set what an account shows, and take its username. The username must not be taken."""
        public_key = get_public_key(account_id)
        self._new[PROFILE_PREFIX + public_key] = _encoder.encode(profile)
        if profile.username:
            self._new[username_key(profile.username)] = public_key

    def is_username_taken(self, username: str) -> bool:
        return self._get(username_key(username)) is not None

    def get_supply(self, code: str) -> int:
        """The sum of all balances of a currency, in smallest units."""
        row = self._get(supply_key(code))
        return 0 if row is None else _decode(_units_decoder, row)

    def set_supply(self, code: str, units: int) -> None:
        self._new[supply_key(code)] = _encoder.encode(units)

    def set_validators(self, validators: ValidatorSet) -> None:
        """Set who decides the next height."""
        self._new[VALIDATORS_KEY] = _encoder.encode(validators.to_rows())

    def get_since(self) -> tuple[int, ...]:
        """The heights from which other members decide, ascending."""
        since: tuple[int, ...] = _decode(_since_decoder, self._get(SINCE_KEY) or b"")
        return since

    def find_members(self, height: int) -> Members | None:
        """Who decides a height, None where it lies before the evidence window or cannot be known yet."""
        since = self.get_since()
        index = bisect_right(since, height) - 1
        return None if index < 0 else self._get_members(since[index])

    def get_parent_members(self) -> Members:
        """Who decides two heights on if this block changes nothing."""
        return self._get_members(self.get_since()[-1])

    def get_upcoming_members(self) -> Members:
        """Who decides two heights on, with what this block has changed so far."""
        return self._upcoming or self.get_parent_members()

    def set_upcoming_members(self, members: Members) -> None:
        """Change who decides two heights on."""
        self._upcoming = members

    def set_first_members(self, members: Members) -> None:
        """Write down who decides from height 1 on (for the state before block 1)."""
        self._new[SINCE_KEY] = _encoder.encode((1,))
        self._new[members_key(1)] = _encoder.encode(members.to_rows())

    def seal_members(self, in_force: int, oldest: int) -> None:
        """Write down the members that this block has changed.

        They are in force from height `in_force` on; of earlier sets only those are kept that decide `oldest` or later.
        """
        members = self._upcoming
        if members is None or members == self.get_parent_members():
            return
        since = (*self.get_since(), in_force)
        first = max(bisect_right(since, oldest) - 1, 0)
        for height in since[:first]:
            self._new[members_key(height)] = None
        self._new[SINCE_KEY] = _encoder.encode(since[first:])
        self._new[members_key(in_force)] = _encoder.encode(members.to_rows())

    def get_punishment(self, public_key: bytes) -> Punishment | None:
        """What was proven against a validator, None where nothing was."""
        row = self._get(punished_key(public_key))
        return None if row is None else _decode(_punishment_decoder, row)

    def set_punishment(self, public_key: bytes, punishment: Punishment) -> None:
        self._new[punished_key(public_key)] = _encoder.encode(punishment)

    def compute_changes(self) -> tuple[Changes, Changes]:
        """What changed against the tree, and the rows as they were: two tuples over the same keys, sorted."""
        new: dict[bytes, bytes | None] = dict(self._new)
        for account_id, account in self._changed_accounts.items():
            new[account_key(account_id)] = _encoder.encode(account)
        changes: list[tuple[bytes, bytes | None]] = []
        undo: list[tuple[bytes, bytes | None]] = []
        for key in sorted(new):
            old, value = self._get_old(key), new[key]
            if old != value:
                changes.append((key, value))
                undo.append((key, old))
        return tuple(changes), tuple(undo)

    def _get_members(self, since: int) -> Members:
        return Members.from_rows(_decode(_members_decoder, self._get(members_key(since)) or b""))

    def _get(self, key: bytes) -> bytes | None:
        return self._new[key] if key in self._new else self._get_old(key)

    def _get_old(self, key: bytes) -> bytes | None:
        try:
            return self._old[key]
        except KeyError:
            row = self._old[key] = self._tree.get(key)
            return row


def _decode(decoder: Any, row: bytes) -> Any:
    try:
        return decoder.decode(row)
    except msgspec.DecodeError as error:
        raise StorageError(f"a row of the state is malformed: {error}") from None
