"""The typed view of the state, its rows in bytes, and its changes."""

from __future__ import annotations

import pytest

from tana.ledger.accounts import Account, Profile, Punishment
from tana.ledger.rows import (
    VALIDATORS_KEY,
    account_key,
    decode_account,
    decode_validators,
    supply_key,
    username_key,
)
from tana.ledger.state import State
from tana.ledger.tree import StateTree
from tana.types.errors import StorageError
from tana.types.validator_set import Members, Validator, ValidatorSet
from tests.ledger.chain import ALICE, BOB

ID = ALICE.public_text


def test_rows_have_one_form() -> None:
    """Frozen bytes: another encoding would be another state root, and so a fork between versions."""
    state = State(StateTree())
    state.set_account(ID, Account("user", 7, {"USD": 5, "BTC": 300}))
    state.set_profile(ID, Profile("@alice", "Al", "é"))
    state.set_supply("USD", 2**63 - 1)
    members = Members.create([Validator(b"v" * 32, 3, "validator-0")])
    state.set_validators(ValidatorSet(members, [-2]))
    state.set_first_members(members)
    state.set_punishment(b"w" * 32, Punishment("prevote", 300, 7))
    changes, undo = state.compute_changes()
    assert dict(changes) == {
        b"account/" + ALICE.public_key: b"\x93\xa4user\x07\x82\xa3BTC\xcd\x01\x2c\xa3USD\x05",
        b"profile/" + ALICE.public_key: b"\x93\xa6@alice\xa2Al\xa2\xc3\xa9",
        b"punished/" + b"w" * 32: b"\x93\xa7prevote\xcd\x01\x2c\x07",
        b"supply/USD": b"\xcf\x7f" + b"\xff" * 7,
        b"username/@alice": ALICE.public_key,
        b"validators": b"\x91\x94\xc4\x20" + b"v" * 32 + b"\x03\xabvalidator-0\xfe",
        b"validators/from/\0\0\0\0\0\0\0\1": b"\x91\x93\xc4\x20" + b"v" * 32 + b"\x03\xabvalidator-0",
        b"validators/since": b"\x91\x01",
    }
    assert [key for key, _ in changes] == sorted(key for key, _ in changes)
    assert undo == tuple((key, None) for key, _ in changes)


def test_reads_see_earlier_writes() -> None:
    state = State(StateTree())
    assert state.get_account(ID) is None
    assert not state.is_username_taken("@alice")
    state.set_account(ID, Account("user", 0, {}))
    state.set_profile(ID, Profile("@alice"))
    state.set_supply("USD", 4)
    assert state.get_account(ID) == Account("user", 0, {})
    assert state.get_profile(ID) == Profile("@alice")
    assert state.is_username_taken("@alice")
    assert (state.get_supply("USD"), state.get_supply("BTC")) == (4, 0)


def test_what_ends_as_it_was_is_no_change() -> None:
    first = State(StateTree())
    first.set_account(ID, Account("user", 0, {"USD": 5}))
    tree = StateTree().updated(dict(first.compute_changes()[0]))
    second = State(tree)
    second.set_account(ID, Account("user", 0, {}))
    second.set_account(ID, Account("user", 0, {"USD": 5}))
    assert second.compute_changes() == ((), ())


def test_undo_holds_the_rows_as_they_were() -> None:
    first = State(StateTree())
    first.set_account(ID, Account("user", 0, {"USD": 5}))
    tree = StateTree().updated(dict(first.compute_changes()[0]))
    second = State(tree)
    second.set_account(ID, Account("user", 1, {"USD": 4}))
    second.set_account(BOB.public_text, Account("user", 0, {"USD": 1}))
    changes, undo = second.compute_changes()
    assert tree.updated(dict(changes)).updated(dict(undo)).root == tree.root
    assert dict(undo)[account_key(BOB.public_text)] is None


def test_empty_username_takes_no_name() -> None:
    state = State(StateTree())
    state.set_profile(ID, Profile(""))
    assert [key for key, _ in state.compute_changes()[0]] == [b"profile/" + ALICE.public_key]


def test_keys_of_rows() -> None:
    assert username_key("@a") == b"username/@a"
    assert supply_key("USD") == b"supply/USD"
    assert account_key(ID) == b"account/" + ALICE.public_key


@pytest.mark.parametrize("row", [b"", b"\x93", b"\xc0", b"\x92\xa4user\x00", b"\x93\xa4user\x00\x80\x00"])
def test_invalid_account_row(row: bytes) -> None:
    with pytest.raises(StorageError):
        decode_account(row)
    with pytest.raises(StorageError):
        State(StateTree([(account_key(ID), row)])).get_account(ID)


@pytest.mark.parametrize("row", [None, b"", b"\x91\x90", b"\xa1x"])
def test_invalid_validators_row(row: bytes | None) -> None:
    with pytest.raises(StorageError):
        decode_validators(row)


def test_invalid_supply_row() -> None:
    with pytest.raises(StorageError):
        State(StateTree([(supply_key("USD"), b"\xa1x")])).get_supply("USD")


def test_validators_survive_their_row() -> None:
    validators = ValidatorSet.create([Validator(b"v" * 32, 3, "a"), Validator(b"w" * 32, 1, "b")]).advanced(2)
    state = State(StateTree())
    state.set_validators(validators)
    assert decode_validators(dict(state.compute_changes()[0])[VALIDATORS_KEY]) == validators


def make_members(*powers: int) -> Members:
    return Members.create(Validator(bytes([index]) * 32, power, f"v-{index}") for index, power in enumerate(powers))


def seal(tree: StateTree, members: Members | None, in_force: int, oldest: int = 0) -> StateTree:
    state = State(tree)
    if members is not None:
        state.set_upcoming_members(members)
    state.seal_members(in_force, oldest)
    return tree.updated(dict(state.compute_changes()[0]))


def make_tree(members: Members) -> StateTree:
    state = State(StateTree())
    state.set_first_members(members)
    return StateTree((key, value) for key, value in state.compute_changes()[0] if value is not None)


def test_members_of_every_recent_height_are_known() -> None:
    one, two, three = make_members(1), make_members(1, 1), make_members(1, 1, 1)
    tree = seal(seal(make_tree(one), two, 5), three, 9)
    state = State(tree)
    assert [state.find_members(height) for height in (1, 4, 5, 8, 9, 100)] == [one, one, two, two, three, three]
    assert state.find_members(0) is None


def test_members_that_change_nothing_leave_no_row() -> None:
    tree = make_tree(make_members(1, 2))
    assert seal(tree, make_members(1, 2), 3) is tree
    assert seal(tree, None, 3) is tree


def test_members_of_heights_beyond_the_window_are_forgotten() -> None:
    tree = make_tree(make_members(1))
    for power in range(2, 40):
        tree = seal(tree, make_members(power), 10 * power, oldest=10 * power - 25)
    state = State(tree)
    assert len(tree) == 1 + len(state.get_since())
    assert state.get_since() == (360, 370, 380, 390)
    assert state.find_members(365) == make_members(36)
    assert state.find_members(359) is None
