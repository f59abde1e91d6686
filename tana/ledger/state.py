"""The state: a typed view of its rows (see `tana.ledger.rows`) that collects changes on top of a tree.

After block h the last of `validators/since` is at most h + 2. What a block changes is in force two heights on: so the
members of h + 1 are known before block h + 1 is proposed, and its header can name them. The members of earlier heights
stay as long as evidence of those heights may come.
"""

from __future__ import annotations

from bisect import bisect_right

from tana.ledger.accounts import Account, Profile, Punishment
from tana.ledger.rows import (
    PROFILE_PREFIX,
    SINCE_KEY,
    VALIDATORS_KEY,
    account_key,
    decode_account,
    decode_members,
    decode_profile,
    decode_punishment,
    decode_since,
    decode_units,
    encode_row,
    get_public_key,
    members_key,
    punished_key,
    supply_key,
    username_key,
)
from tana.ledger.tree import StateTree
from tana.types.validator_set import Members, ValidatorSet

Changes = tuple[tuple[bytes, bytes | None], ...]
"""Rows and their new values (None: the row goes), sorted by key."""


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
        if account_id in self._accounts:
            return self._accounts[account_id]
        row = self._get_old(account_key(account_id))
        account = self._accounts[account_id] = None if row is None else decode_account(row)
        return account

    def set_account(self, account_id: str, account: Account) -> None:
        self._accounts[account_id] = account
        self._changed_accounts[account_id] = account

    def get_profile(self, account_id: str) -> Profile | None:
        row = self._get(PROFILE_PREFIX + get_public_key(account_id))
        return None if row is None else decode_profile(row)

    def set_profile(self, account_id: str, profile: Profile) -> None:
        """Set what an account shows, and take its username. The username must not be taken."""
        public_key = get_public_key(account_id)
        self._new[PROFILE_PREFIX + public_key] = encode_row(profile)
        if profile.username:
            self._new[username_key(profile.username)] = public_key

    def is_username_taken(self, username: str) -> bool:
        return self._get(username_key(username)) is not None

    def get_supply(self, code: str) -> int:
        """The sum of all balances of a currency, in smallest units."""
        row = self._get(supply_key(code))
        return 0 if row is None else decode_units(row)

    def set_supply(self, code: str, units: int) -> None:
        self._new[supply_key(code)] = encode_row(units)

    def set_validators(self, validators: ValidatorSet) -> None:
        """Set who decides the next height."""
        self._new[VALIDATORS_KEY] = encode_row(validators.to_rows())

    def get_since(self) -> tuple[int, ...]:
        """The heights from which other members decide, ascending."""
        return decode_since(self._get(SINCE_KEY))

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
        self._new[SINCE_KEY] = encode_row((1,))
        self._new[members_key(1)] = encode_row(members.to_rows())

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
        self._new[SINCE_KEY] = encode_row(since[first:])
        self._new[members_key(in_force)] = encode_row(members.to_rows())

    def get_punishment(self, public_key: bytes) -> Punishment | None:
        """What was proven against a validator, None where nothing was."""
        row = self._get(punished_key(public_key))
        return None if row is None else decode_punishment(row)

    def set_punishment(self, public_key: bytes, punishment: Punishment) -> None:
        self._new[punished_key(public_key)] = encode_row(punishment)

    def compute_changes(self) -> tuple[Changes, Changes]:
        """What changed against the tree, and the rows as they were: two tuples over the same keys, sorted."""
        new: dict[bytes, bytes | None] = dict(self._new)
        for account_id, account in self._changed_accounts.items():
            new[account_key(account_id)] = encode_row(account)
        changes: list[tuple[bytes, bytes | None]] = []
        undo: list[tuple[bytes, bytes | None]] = []
        for key in sorted(new):
            old, value = self._get_old(key), new[key]
            if old != value:
                changes.append((key, value))
                undo.append((key, old))
        return tuple(changes), tuple(undo)

    def _get_members(self, since: int) -> Members:
        return decode_members(self._get(members_key(since)))

    def _get(self, key: bytes) -> bytes | None:
        return self._new[key] if key in self._new else self._get_old(key)

    def _get_old(self, key: bytes) -> bytes | None:
        if key in self._old:
            return self._old[key]
        row = self._old[key] = self._tree.get(key)
        return row
