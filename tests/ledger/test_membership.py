"""Validator changes: what each one does, every reason for a refusal, and when they take force."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tana.crypto.keys import KeyPair
from tana.ledger.ledger import InvalidBlock, Ledger
from tana.ledger.membership import ValidatorChange, change_members, check_extent, parse_change
from tana.ledger.mempool import Mempool
from tana.ledger.refusal import TransactionRefused
from tana.types.block import RawTransaction
from tana.types.transaction import SignedTransaction
from tana.types.validator_set import MAX_TOTAL_POWER, Members, Validator
from tests.ledger.chain import (
    ALICE,
    BOB,
    PRODUCER,
    SOVEREIGN,
    VALIDATORS,
    accuse,
    build_and_commit,
    make_genesis,
    remake,
    sign,
    transfer,
)

NEWCOMER, OTHER = (KeyPair.from_seed(bytes([number]) * 32) for number in (40, 41))


def change(
    key: KeyPair, node_id: str, power: object, nonce: int = 0, sender: KeyPair = SOVEREIGN, **fields: Any
) -> SignedTransaction:
    body = {"nodeId": node_id, "power": power, **fields}
    return sign(sender, key, "validator_change", nonce, contractInput=body)


def key_of(index: int) -> bytes:
    return bytes([index]) * 32


def make_members(*powers: int) -> Members:
    return Members.create(Validator(key_of(index), power, f"v-{index}") for index, power in enumerate(powers))


THREE = make_members(1, 1, 1)

DONE: dict[str, tuple[Members, ValidatorChange, dict[bytes, int]]] = {
    "join": (THREE, ValidatorChange(key_of(7), "v-7", 1, None), {key_of(index): 1 for index in (0, 1, 2, 7)}),
    "leave": (THREE, ValidatorChange(key_of(1), "v-1", 0, None), {key_of(0): 1, key_of(2): 1}),
    "more_power": (THREE, ValidatorChange(key_of(1), "v-1", 2, None), {key_of(0): 1, key_of(1): 2, key_of(2): 1}),
    "less_power": (
        make_members(3, 3, 3),
        ValidatorChange(key_of(1), "v-1", 1, None),
        {key_of(0): 3, key_of(1): 1, key_of(2): 3},
    ),
    "another_key": (
        THREE,
        ValidatorChange(key_of(7), "v-1", 1, key_of(1)),
        {key_of(0): 1, key_of(2): 1, key_of(7): 1},
    ),
}


@pytest.mark.parametrize("name", DONE)
def test_what_a_change_does(name: str) -> None:
    members, asked, powers = DONE[name]
    changed = change_members(members, members, asked)
    assert changed.powers == powers
    assert asked.power == 0 or changed.by_key[asked.public_key].node_id == asked.node_id


REFUSED: dict[str, tuple[str, Members, ValidatorChange]] = {
    "leave_of_a_stranger": ("unknown_validator", THREE, ValidatorChange(key_of(7), "v-7", 0, None)),
    "leave_under_another_name": ("wrong_node_id", THREE, ValidatorChange(key_of(1), "v-2", 0, None)),
    "leave_of_the_last": ("last_validator", make_members(1), ValidatorChange(key_of(0), "v-0", 0, None)),
    "join_under_a_taken_name": ("node_id_taken", THREE, ValidatorChange(key_of(7), "v-1", 1, None)),
    "a_members_new_name": ("wrong_node_id", THREE, ValidatorChange(key_of(1), "other", 2, None)),
    "the_same_power": ("no_change", THREE, ValidatorChange(key_of(1), "v-1", 1, None)),
    "replacing_a_stranger": ("unknown_validator", THREE, ValidatorChange(key_of(7), "v-1", 1, key_of(8))),
    "replacing_under_another_name": ("wrong_node_id", THREE, ValidatorChange(key_of(7), "v-7", 1, key_of(1))),
    "replacing_by_a_member": ("validator_exists", THREE, ValidatorChange(key_of(2), "v-1", 1, key_of(1))),
    "replacing_by_itself": ("validator_exists", THREE, ValidatorChange(key_of(1), "v-1", 1, key_of(1))),
    "join_over_a_third": ("too_much_change", THREE, ValidatorChange(key_of(7), "v-7", 2, None)),
    "leave_over_a_third": ("too_much_change", make_members(1, 1), ValidatorChange(key_of(1), "v-1", 0, None)),
    "power_over_a_third": ("too_much_change", THREE, ValidatorChange(key_of(1), "v-1", 3, None)),
    "less_power_over_a_third": ("too_much_change", make_members(4, 4), ValidatorChange(key_of(1), "v-1", 1, None)),
    "another_key_over_a_third": (
        "too_much_change",
        make_members(1, 1),
        ValidatorChange(key_of(7), "v-1", 1, key_of(1)),
    ),
    "another_key_of_more_power": ("too_much_change", THREE, ValidatorChange(key_of(7), "v-1", 2, key_of(1))),
    "power_beyond_all_bounds": (
        "too_many_validators",
        THREE,
        ValidatorChange(key_of(7), "v-7", MAX_TOTAL_POWER, None),
    ),
    "too_many": (
        "too_many_validators",
        make_members(*[1] * 256),
        ValidatorChange(b"\0\1" * 16, "new", 1, None),
    ),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_invalid_change(reason: str) -> None:
    code, members, asked = REFUSED[reason]
    with pytest.raises(TransactionRefused) as caught:
        change_members(members, members, asked)
    assert caught.value.code == code


MALFORMED: dict[str, dict[str, Any]] = {
    "no_node_id": {"power": 1},
    "no_power": {"nodeId": "v-1"},
    "node_id_with_capitals": {"nodeId": "V-1", "power": 1},
    "node_id_as_number": {"nodeId": 1, "power": 1},
    "power_below_zero": {"nodeId": "v-1", "power": -1},
    "power_as_text": {"nodeId": "v-1", "power": "1"},
    "power_as_boolean": {"nodeId": "v-1", "power": True},
    "power_as_fraction": {"nodeId": "v-1", "power": 1.5},
    "power_beyond_all_bounds": {"nodeId": "v-1", "power": MAX_TOTAL_POWER + 1},
    "replaces_as_number": {"nodeId": "v-1", "power": 1, "replaces": 1},
    "replaces_cut": {"nodeId": "v-1", "power": 1, "replaces": "ed25519_00"},
    "replaces_with_no_power": {"nodeId": "v-1", "power": 0, "replaces": VALIDATORS[0].public_text},
    "unknown_field": {"nodeId": "v-1", "power": 1, "rank": 1},
}


@pytest.mark.parametrize("reason", MALFORMED)
def test_invalid_form(reason: str) -> None:
    with pytest.raises(TransactionRefused) as caught:
        parse_change(NEWCOMER.public_key, MALFORMED[reason])
    assert caught.value.code == "malformed_validator_change"
    assert caught.value.field.startswith("contractInput.")


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.lists(st.integers(0, 9), min_size=1, max_size=6))
def test_two_thirds_of_every_set_come_from_the_one_before(before: list[int], after: list[int]) -> None:
    parent = make_members(*before)
    kept = [Validator(key_of(index), power, f"v-{index}") for index, power in enumerate(after) if power]
    members = Members(tuple(kept))
    overlap = sum(min(parent.powers.get(key, 0), power) for key, power in members.powers.items())
    total = max(parent.total_power, members.total_power)
    try:
        check_extent(parent, members)
    except TransactionRefused:
        assert 3 * (total - overlap) > parent.total_power
    else:
        assert 3 * overlap >= 2 * parent.total_power
        assert 3 * (members.total_power - overlap) <= parent.total_power


def build(ledger: Ledger, *transactions: SignedTransaction) -> int:
    """How many of the transactions the next block takes; it is committed."""
    block = ledger.build_block(PRODUCER, ledger.time_ms + 1000, transactions)
    ledger.commit(block)
    return len(block.transactions)


def test_a_change_takes_force_two_heights_on_and_not_before() -> None:
    ledger = Ledger.from_genesis(make_genesis())
    before = ledger.validators.members
    first = build_and_commit(ledger, change(NEWCOMER, "validator-9", 1)).block.header
    assert ledger.has_pending_change
    second = build_and_commit(ledger).block.header
    third = build_and_commit(ledger).block.header
    assert [first.validators_hash, second.validators_hash] == [before.hash, before.hash]
    assert first.next_validators_hash == before.hash
    assert second.next_validators_hash == third.validators_hash == ledger.validators.hash != before.hash
    assert [ledger.find_members(height) == before for height in (1, 2, 3)] == [True, True, False]
    assert not ledger.has_pending_change


@pytest.mark.parametrize("field", ["validators_hash", "next_validators_hash"])
def test_invalid_change_one_height_early(field: str) -> None:
    ledger = Ledger.from_genesis(make_genesis())
    build_and_commit(ledger, change(NEWCOMER, "validator-9", 1))
    early = ledger.upcoming_members.hash
    if field == "next_validators_hash":
        ledger = Ledger.from_genesis(make_genesis())
        block = ledger.build_block(PRODUCER, ledger.time_ms + 1000, [change(NEWCOMER, "validator-9", 1)])
    else:
        block = ledger.build_block(PRODUCER, ledger.time_ms + 1000, ())
    with pytest.raises(InvalidBlock) as caught:
        ledger.execute(remake(block, None, None, **{field: early}))
    assert caught.value.code == f"wrong_{field}"


def test_invalid_block_whose_producer_is_not_yet_in_force() -> None:
    ledger = Ledger.from_genesis(make_genesis())
    build_and_commit(ledger, change(NEWCOMER, "validator-9", 1))
    block = ledger.build_block(PRODUCER, ledger.time_ms + 1000, ())
    with pytest.raises(InvalidBlock, match="not a validator"):
        ledger.execute(remake(block, producer=NEWCOMER.public_key))


def test_two_changes_in_one_block_count_together() -> None:
    genesis = make_genesis()
    ledger = Ledger.from_genesis(genesis)
    grow, shrink = change(VALIDATORS[0], "validator-0", 2, 0), change(VALIDATORS[1], "validator-1", 0, 1)
    assert build(ledger, grow, shrink) == 2, "one unit gained and one lost: a third each"
    assert ledger.upcoming_members.total_power == 3
    ledger = Ledger.from_genesis(genesis)
    assert build(ledger, grow, change(NEWCOMER, "validator-9", 1, 1)) == 1, "two units gained"
    assert build(ledger, change(NEWCOMER, "validator-9", 1, 1)) == 1, "the next block takes the other"


def test_invalid_block_that_changes_more_than_a_third() -> None:
    ledger = Ledger.from_genesis(make_genesis())
    changes = [change(NEWCOMER, "validator-9", 1, 0), change(OTHER, "validator-8", 1, 1)]
    block = ledger.build_block(PRODUCER, ledger.time_ms + 1000, changes)
    assert len(block.transactions) == 1
    raw = [RawTransaction(item.text, item.signature) for item in changes]
    with pytest.raises(InvalidBlock, match="too_much_change"):
        ledger.execute(remake(block, raw))


def test_what_the_convicted_lose_is_part_of_the_sum() -> None:
    genesis = make_genesis()
    ledger = Ledger.from_genesis(genesis)
    leave = change(VALIDATORS[2], "validator-2", 0)
    evidence = [accuse(VALIDATORS[1], 1, chain_id=genesis.compute_chain_id())]
    block = ledger.build_block(PRODUCER, ledger.time_ms + 1000, [leave], evidence=evidence)
    assert (len(block.evidence), len(block.transactions)) == (1, 0)


def test_invalid_return_of_a_convicted_key() -> None:
    genesis = make_genesis()
    ledger = Ledger.from_genesis(genesis)
    evidence = [accuse(VALIDATORS[1], 1, chain_id=genesis.compute_chain_id())]
    ledger.commit(ledger.build_block(PRODUCER, ledger.time_ms + 1000, (), evidence=evidence))
    for _ in range(3):
        build_and_commit(ledger)
    mempool = Mempool(ledger)
    assert mempool.add(change(VALIDATORS[1], "validator-1", 1)).code == "punished"
    node = change(NEWCOMER, "validator-1", 1, replaces=VALIDATORS[1].public_text)
    assert mempool.add(node).code == "unknown_validator"


@pytest.mark.parametrize("sender", [ALICE, VALIDATORS[0]])
def test_invalid_sender(sender: KeyPair) -> None:
    mempool = Mempool(Ledger.from_genesis(make_genesis()))
    code = mempool.add(change(NEWCOMER, "validator-9", 1, sender=sender)).code
    assert code == ("not_permitted" if sender is ALICE else "unknown_account")


class TestMempool:
    """Changes that wait are tried again whenever the members change, and only then."""

    def test_a_change_that_another_made_impossible_is_dropped(self) -> None:
        ledger = Ledger.from_genesis(make_genesis())
        build_and_commit(ledger, sign(SOVEREIGN, ALICE, "role_change", 0, contractInput={"role": "sovereign"}))
        mempool = Mempool(ledger)
        waiting = change(NEWCOMER, "validator-9", 1, sender=ALICE)
        assert mempool.add(waiting).status == "accepted"
        mempool.on_commit(build_and_commit(ledger, transfer(BOB, ALICE, 0)))
        assert mempool.has_work()
        execution = build_and_commit(ledger, change(NEWCOMER, "validator-9", 1, 1))
        assert mempool.on_commit(execution) == [(waiting.id, "no_change")]

    def test_a_change_of_a_key_that_is_convicted_is_dropped(self) -> None:
        genesis = make_genesis()
        ledger = Ledger.from_genesis(genesis)
        mempool = Mempool(ledger)
        waiting = change(VALIDATORS[1], "validator-1", 2)
        assert mempool.add(waiting).status == "accepted"
        evidence = [accuse(VALIDATORS[1], 1, chain_id=genesis.compute_chain_id())]
        execution = ledger.commit(ledger.build_block(PRODUCER, ledger.time_ms + 1, (), evidence=evidence))
        assert mempool.on_commit(execution) == [(waiting.id, "punished")]

    def test_changes_of_a_third_each_follow_block_by_block(self) -> None:
        ledger = Ledger.from_genesis(make_genesis())
        mempool = Mempool(ledger)
        for nonce, key in enumerate((NEWCOMER, OTHER)):
            assert mempool.add(change(key, f"validator-{8 + nonce}", 1, nonce)).status == "accepted"
        counts = []
        while mempool.has_work():
            block = ledger.build_block(PRODUCER, ledger.time_ms + 1000, mempool.candidates())
            counts.append(len(block.transactions))
            assert mempool.on_commit(ledger.commit(block)) == []
        assert counts == [1, 1]


def test_undo_rows_take_a_change_back() -> None:
    ledger = Ledger.from_genesis(make_genesis())
    before = ledger.tree
    execution = build_and_commit(ledger, change(NEWCOMER, "validator-9", 1))
    assert before.updated(dict(execution.changes)).updated(dict(execution.undo)).root == before.root


def test_sets_before_the_evidence_window_are_forgotten() -> None:
    ledger = Ledger.from_genesis(make_genesis(evidenceMaxAgeHeights=4))
    for nonce in range(20):
        build_and_commit(ledger, change(VALIDATORS[0], "validator-0", 1 + (nonce + 1) % 2, nonce))
        assert ledger.find_members(max(ledger.height - 3, 1)) is not None
    rows = [key for key, _ in ledger.tree.items() if key.startswith(b"validators/from/")]
    assert len(rows) <= 4 + 3


def test_a_ledger_restored_while_a_change_is_pending_goes_on_as_the_others() -> None:
    genesis = make_genesis()
    ledger = Ledger.from_genesis(genesis)
    tip = build_and_commit(ledger, change(NEWCOMER, "validator-9", 1)).block.header
    restored = Ledger.restore(genesis, list(ledger.tree.items()), tip)
    block = ledger.build_block(PRODUCER, ledger.time_ms + 1000, ())
    restored.execute(block)
    ledger.commit(block)
    restored.commit(block)
    assert restored.validators == ledger.validators
