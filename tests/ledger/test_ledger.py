"""Blocks: built, executed, committed, refused for every reason, undone, replayed and restored."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tana.crypto import merkle
from tana.crypto.keys import KeyPair
from tana.ledger.ledger import (
    HEADER_BYTES_MAX,
    MAX_CANDIDATES,
    TRANSACTION_OVERHEAD_BYTES_MAX,
    InvalidBlock,
    Ledger,
    User,
)
from tana.ledger.rows import SUPPLY_PREFIX, decode_account
from tana.ledger.tree import StateTree
from tana.types.block import Block, RawTransaction
from tana.types.errors import InvalidInput, StorageError
from tana.types.genesis import Genesis, GenesisAccount
from tana.types.transaction import SignedTransaction
from tests.ledger.chain import (
    ALICE,
    BOB,
    CAROL,
    CREATED_AT_MS,
    PRODUCER,
    SOVEREIGN,
    STAFF,
    VALIDATORS,
    CountingVerifier,
    build_and_commit,
    create_user,
    deposit,
    make_genesis,
    remake,
    transfer,
    withdraw,
)

GENESIS = make_genesis()


@pytest.fixture
def ledger() -> Ledger:
    return Ledger.from_genesis(GENESIS)


@pytest.fixture
def other() -> Ledger:
    """Another node of the same chain."""
    return Ledger.from_genesis(GENESIS)


def raw(stx: SignedTransaction) -> RawTransaction:
    return RawTransaction(stx.text, stx.signature)


def decoded(block: Block) -> Block:
    """The block as another node gets it."""
    return Block.decode(block.data)


def expect_invalid(ledger: Ledger, block: Block, code: str) -> str:
    before = (ledger.height, ledger.block_hash, ledger.state_root, ledger.time_ms, ledger.validators)
    for execute in (ledger.execute, ledger.execute_certified):
        with pytest.raises(InvalidBlock) as caught:
            execute(block)
        assert caught.value.code == code
    assert before == (ledger.height, ledger.block_hash, ledger.state_root, ledger.time_ms, ledger.validators)
    return caught.value.message


def test_genesis_is_height_0(ledger: Ledger) -> None:
    assert (ledger.height, ledger.time_ms) == (0, CREATED_AT_MS)
    assert ledger.block_hash == ledger.chain_id == GENESIS.compute_chain_id()
    assert ledger.validators == GENESIS.to_validator_set()
    assert ledger.get_supply() == {"USD": 20000, "BTC": 0}
    assert (ledger.get_decimals("BTC"), ledger.get_decimals("EUR")) == (8, None)


def test_accounts_are_found_by_every_printed_form(ledger: Ledger) -> None:
    account = ledger.get_account(ALICE.public_text)
    assert account is not None
    assert account.get_balance("USD") == 10000
    assert ledger.get_account(ALICE.public_key.hex().upper()) == account
    assert ledger.get_account(CAROL.public_text) is None
    profile = ledger.get_profile(ALICE.public_text)
    assert profile is not None
    assert profile.username == "@alice"
    assert ledger.get_profile(CAROL.public_text) is None


def test_invalid_account_id(ledger: Ledger) -> None:
    with pytest.raises(InvalidInput, match="account"):
        ledger.get_account("alice")


def test_users_are_listed_by_username(ledger: Ledger) -> None:
    build_and_commit(ledger, create_user(STAFF, CAROL, 0, "@carol", displayName="Carol", bio="likes proofs"))
    users = ledger.list_users()
    assert [user.username for user in users] == ["", "@alice", "@bob", "@carol", "@staff"]
    assert users[3] == User(CAROL.public_text, "@carol", "user", "Carol", "likes proofs")
    assert users[0].role == "sovereign"


def test_built_block_executes_on_another_node(ledger: Ledger, other: Ledger) -> None:
    block = ledger.build_block(PRODUCER, CREATED_AT_MS + 5000, [transfer(ALICE, BOB, 0), deposit(ALICE, 0)])
    execution = other.execute(decoded(block))
    built = ledger.execute(block)
    assert (execution.changes, execution.undo) == (built.changes, built.undo)
    assert execution.state_root == block.header.state_root
    assert block.header.time_ms == CREATED_AT_MS + 5000
    assert (ledger.commit(block), other.commit(decoded(block))) == (built, execution)
    assert (ledger.height, ledger.block_hash, ledger.state_root) == (1, block.hash, block.header.state_root)
    assert other.block_hash == ledger.block_hash
    assert other.get_account(ALICE.public_text) == ledger.get_account(ALICE.public_text)


def test_empty_blocks_follow_each_other(ledger: Ledger) -> None:
    first = build_and_commit(ledger).block
    second = build_and_commit(ledger).block
    assert second.header.parent == first.hash
    assert second.height == 2
    assert second.header.transactions_root == merkle.EMPTY_ROOT


def test_time_is_after_the_parent_when_the_clock_is_behind(ledger: Ledger) -> None:
    block = ledger.build_block(PRODUCER, 0, [])
    assert block.header.time_ms == CREATED_AT_MS + 1
    ledger.commit(block)
    assert ledger.time_ms == CREATED_AT_MS + 1


def test_clock_lead_is_bounded_by_the_genesis(ledger: Ledger) -> None:
    block = ledger.build_block(PRODUCER, CREATED_AT_MS + 50_000, [])
    assert ledger.is_clock_lead_acceptable(block, CREATED_AT_MS + 40_000)
    assert not ledger.is_clock_lead_acceptable(block, CREATED_AT_MS + 39_999)


def test_proposers_take_turns_as_the_chain_grows(ledger: Ledger) -> None:
    proposers = []
    for _ in range(6):
        proposers.append(ledger.validators.get_proposer(0).node_id)
        build_and_commit(ledger)
    assert sorted(proposers[:3]) == sorted(proposers[3:]) == ["validator-0", "validator-1", "validator-2"]
    assert ledger.validators == GENESIS.to_validator_set().advanced(6)


def test_build_leaves_out_what_does_not_execute(ledger: Ledger, other: Ledger) -> None:
    good = [transfer(ALICE, BOB, 0), transfer(ALICE, BOB, 1)]
    forged = SignedTransaction(transfer(BOB, ALICE, 0).text, bytes(64), transfer(BOB, ALICE, 0).transaction)
    poor, gap = transfer(BOB, ALICE, 0, "999"), transfer(BOB, ALICE, 5)
    block = ledger.build_block(PRODUCER, 0, [forged, good[0], poor, good[0], gap, good[1]])
    assert block.transactions == tuple(raw(stx) for stx in good)
    other.execute(decoded(block))


def test_build_fills_up_to_the_bytes_of_the_genesis() -> None:
    ledger = Ledger.from_genesis(make_genesis(maxBlockBytes=2048))
    block = ledger.build_block(PRODUCER, 0, [transfer(ALICE, BOB, nonce) for nonce in range(20)])
    assert 1 < len(block.transactions) < 20
    assert len(block.data) <= 2048
    assert len(block.data) > 2048 - HEADER_BYTES_MAX - 400
    smaller = ledger.build_block(PRODUCER, 0, [transfer(ALICE, BOB, nonce) for nonce in range(20)], max_bytes=1500)
    assert 0 < len(smaller.transactions) < len(block.transactions)


def test_build_stops_at_the_count_of_the_genesis() -> None:
    ledger = Ledger.from_genesis(make_genesis(maxBlockTransactions=3))
    block = ledger.build_block(PRODUCER, 0, [transfer(ALICE, BOB, nonce) for nonce in range(5)])
    assert len(block.transactions) == 3


def test_encoding_overheads_are_upper_bounds(ledger: Ledger) -> None:
    # Sizes on both sides of msgpack's 1-, 2- and 3-byte lengths.
    for reference in (0, 10, 300, 8000):
        stx = transfer(ALICE, BOB, 0, metadata={"reference": "x" * reference})
        block = ledger.build_block(PRODUCER, 2**61, [stx])
        assert len(block.data) <= HEADER_BYTES_MAX + stx.size_bytes + TRANSACTION_OVERHEAD_BYTES_MAX


def test_signatures_are_verified_once_and_forgotten_when_final() -> None:
    verifier = CountingVerifier()
    ledger = Ledger.from_genesis(GENESIS, verifier)
    stx = transfer(ALICE, BOB, 0)
    assert ledger.is_verified(stx)
    block = ledger.build_block(PRODUCER, 0, [stx])
    ledger.execute(decoded(block))
    assert verifier.calls == 1
    assert len(ledger.verified) == 1
    ledger.commit(block)
    assert len(ledger.verified) == 0


def test_a_certificate_stands_for_the_signatures(ledger: Ledger) -> None:
    block = ledger.build_block(PRODUCER, 0, [transfer(ALICE, BOB, 0)])
    verifier = CountingVerifier()
    follower = Ledger.from_genesis(GENESIS, verifier)
    follower.execute_certified(decoded(block))
    assert verifier.calls == 0
    assert len(follower.verified) == 0


def test_a_block_is_executed_once(ledger: Ledger, other: Ledger) -> None:
    block = ledger.build_block(PRODUCER, 0, [transfer(ALICE, BOB, 0)])
    assert ledger.execute(block) is ledger.execute(decoded(block))
    assert other.execute(decoded(block)) is other.execute(decoded(block))


def test_candidates_are_bounded_and_one_is_committed(ledger: Ledger) -> None:
    blocks = [ledger.build_block(PRODUCER, CREATED_AT_MS + number, []) for number in range(1, MAX_CANDIDATES + 4)]
    with pytest.raises(AssertionError):
        ledger.commit(blocks[0])
    ledger.commit(blocks[-1])
    with pytest.raises(AssertionError):
        ledger.commit(blocks[-2])
    assert ledger.height == 1


def test_commit_wants_an_executed_block(ledger: Ledger, other: Ledger) -> None:
    block = ledger.build_block(PRODUCER, 0, [])
    with pytest.raises(AssertionError):
        other.commit(block)


def test_undo_reverses_a_block(ledger: Ledger) -> None:
    build_and_commit(ledger, transfer(ALICE, BOB, 0))
    before = ledger.tree
    execution = build_and_commit(
        ledger, create_user(STAFF, CAROL, 0, "@carol"), deposit(CAROL, 0), transfer(BOB, CAROL, 0), withdraw(ALICE, 1)
    )
    assert before.updated(dict(execution.changes)).root == ledger.state_root
    assert ledger.tree.updated(dict(execution.undo)).root == before.root
    assert [key for key, _ in execution.undo] == [key for key, _ in execution.changes]
    assert list(execution.changes) == sorted(execution.changes, key=lambda change: change[0])


def make_story(ledger: Ledger) -> list[Block]:
    """Five blocks with a bit of everything."""
    executions = [
        build_and_commit(ledger, create_user(CAROL, CAROL, 0, "@carol")),
        build_and_commit(ledger, deposit(CAROL, 0, "7.77"), transfer(ALICE, CAROL, 0)),
        build_and_commit(ledger),
        build_and_commit(ledger, transfer(CAROL, BOB, 1, "8.77"), withdraw(BOB, 1)),
        build_and_commit(ledger, transfer(BOB, ALICE, 0), transfer(ALICE, BOB, 1), transfer(BOB, ALICE, 1)),
    ]
    return [execution.block for execution in executions]


def test_replay_from_genesis_ends_in_the_same_state(ledger: Ledger, other: Ledger) -> None:
    for block in make_story(ledger):
        other.execute_certified(decoded(block))
        other.commit(decoded(block))
    assert other.state_root == ledger.state_root
    assert other.validators == ledger.validators
    assert list(other.tree.items()) == list(ledger.tree.items())


def test_changes_rebuild_the_state_row_by_row(ledger: Ledger) -> None:
    rows = dict(ledger.tree.items())
    for transactions in ([transfer(ALICE, BOB, 0)], [deposit(BOB, 0)], []):
        for key, value in build_and_commit(ledger, *transactions).changes:
            assert value is not None
            rows[key] = value
    assert StateTree(rows.items()).root == ledger.state_root


def test_restore_goes_on_where_the_tip_was(ledger: Ledger) -> None:
    tip = make_story(ledger)[-1]
    restored = Ledger.restore(GENESIS, ledger.tree.items(), tip.header)
    assert restored.state_root == ledger.state_root
    assert (restored.height, restored.block_hash, restored.time_ms) == (5, tip.hash, tip.header.time_ms)
    assert restored.validators == ledger.validators
    block = ledger.build_block(PRODUCER, 0, [transfer(ALICE, BOB, 2)])
    assert restored.execute(decoded(block)).state_root == block.header.state_root


def test_invalid_restore_with_a_row_changed(ledger: Ledger) -> None:
    tip = build_and_commit(ledger, transfer(ALICE, BOB, 0)).block
    rows = dict(ledger.tree.items())
    rows[SUPPLY_PREFIX + b"USD"] = b"\x00"
    with pytest.raises(StorageError, match="root"):
        Ledger.restore(GENESIS, rows.items(), tip.header)


def test_invalid_restore_of_another_chain(ledger: Ledger) -> None:
    tip = build_and_commit(ledger).block
    with pytest.raises(StorageError, match="chain"):
        Ledger.restore(make_genesis(requireChainId=True), ledger.tree.items(), tip.header)


TWIN = transfer(ALICE, BOB, 0)

HEADERS: dict[str, dict[str, Any]] = {
    "wrong_chain_id": {"chain_id": bytes(32)},
    "wrong_height": {"height": 3},
    "wrong_parent": {"parent": bytes(32)},
    "wrong_time": {"time_ms": CREATED_AT_MS},
    "wrong_producer": {"producer": ALICE.public_key},
    "wrong_validators_hash": {"validators_hash": bytes(32)},
    "wrong_next_validators_hash": {"next_validators_hash": bytes(32)},
    "wrong_evidence_root": {"evidence_root": bytes(32)},
    "wrong_count": {"transaction_count": 2},
    "wrong_transactions_root": {"transactions_root": bytes(32)},
    "wrong_state_root": {"state_root": bytes(32)},
}


@pytest.mark.parametrize("code", HEADERS)
def test_invalid_header(code: str, ledger: Ledger, other: Ledger) -> None:
    block = ledger.build_block(PRODUCER, 0, [TWIN])
    expect_invalid(other, remake(block, **HEADERS[code]), code)
    assert other.execute(decoded(block)).block == block


def test_invalid_state_root_names_both(ledger: Ledger, other: Ledger) -> None:
    block = ledger.build_block(PRODUCER, 0, [TWIN])
    message = expect_invalid(other, remake(block, state_root=b"\xab" * 32), "wrong_state_root")
    assert message == f"state root ours {block.header.state_root.hex()}, block's {'ab' * 32}"


def test_invalid_height_already_final(ledger: Ledger) -> None:
    block = build_and_commit(ledger).block
    expect_invalid(ledger, block, "wrong_height")


BODIES: dict[str, tuple[str, Callable[[], list[RawTransaction]]]] = {
    "same_transaction_twice": ("duplicate_transaction", lambda: [raw(TWIN), raw(TWIN)]),
    "same_text_with_two_signatures": (
        "duplicate_transaction",
        lambda: [raw(TWIN), RawTransaction(TWIN.text, b"\x01" * 64)],
    ),
    "transaction_the_rules_refuse": ("transaction_refused", lambda: [raw(transfer(ALICE, BOB, 0, "1000"))]),
    "transactions_in_the_wrong_order": ("transaction_refused", lambda: [raw(transfer(ALICE, BOB, 1)), raw(TWIN)]),
    "transaction_with_a_blank": (
        "malformed_transaction",
        lambda: [RawTransaction(TWIN.text.replace(b":", b": ", 1), TWIN.signature)],
    ),
    "transaction_of_no_text": ("malformed_transaction", lambda: [RawTransaction(b"", TWIN.signature)]),
    "transaction_of_binary": ("malformed_transaction", lambda: [RawTransaction(b"\xff\xfe", TWIN.signature)]),
    "transaction_nested_deeply": ("malformed_transaction", lambda: [RawTransaction(b"[" * 16000, TWIN.signature)]),
}


@pytest.mark.parametrize("reason", BODIES)
def test_invalid_body(reason: str, ledger: Ledger) -> None:
    code, make = BODIES[reason]
    permissive = Ledger.from_genesis(GENESIS, CountingVerifier())
    block = remake(ledger.build_block(PRODUCER, 0, []), make())
    expect_invalid(permissive, block, code)


def test_invalid_body_under_a_good_header(ledger: Ledger, other: Ledger) -> None:
    """The hash covers the header only: a kept execution must not vouch for other bytes."""
    block = ledger.build_block(PRODUCER, 0, [TWIN])
    swapped = Block.create(block.header, [raw(transfer(ALICE, BOB, 0, "2.00"))])
    assert swapped.hash == block.hash
    expect_invalid(ledger, swapped, "wrong_transactions_root")
    expect_invalid(other, swapped, "wrong_transactions_root")
    with pytest.raises(AssertionError):
        ledger.commit(swapped)


def test_invalid_signature_in_a_block(ledger: Ledger, other: Ledger) -> None:
    block = ledger.build_block(PRODUCER, 0, [TWIN])
    forged = remake(block, [RawTransaction(TWIN.text, bytes(64))])
    assert other.is_verified(TWIN)
    with pytest.raises(InvalidBlock) as caught:
        other.execute(forged)
    assert caught.value.code == "bad_signature"


def test_invalid_block_over_the_bytes_of_the_genesis(other: Ledger) -> None:
    strict = Ledger.from_genesis(make_genesis(maxBlockBytes=1024))
    body = [raw(transfer(ALICE, BOB, nonce)) for nonce in range(8)]
    block = remake(strict.build_block(PRODUCER, 0, []), body)
    expect_invalid(strict, block, "too_large")


def test_invalid_block_over_the_count_of_the_genesis() -> None:
    strict = Ledger.from_genesis(make_genesis(maxBlockTransactions=2))
    body = [raw(transfer(ALICE, BOB, nonce)) for nonce in range(3)]
    expect_invalid(strict, remake(strict.build_block(PRODUCER, 0, []), body), "too_large")


def test_invalid_expired_transaction_reads_the_parents_height(ledger: Ledger) -> None:
    stx = transfer(ALICE, BOB, 0, metadata={"expiresAtHeight": 1})
    body = [raw(stx)]
    ledger.execute(ledger.build_block(PRODUCER, 0, [stx]))
    build_and_commit(ledger)
    expect_invalid(ledger, remake(ledger.build_block(PRODUCER, 0, []), body), "transaction_refused")


def with_accounts(*accounts: GenesisAccount) -> Genesis:
    return msgspec.structs.replace(GENESIS, accounts=accounts)


@pytest.mark.parametrize(
    ("words", "genesis"),
    [
        ("currencies", with_accounts(GenesisAccount(ALICE.public_text, "", "user", {"EUR": "1"}))),
        ("role", with_accounts(GenesisAccount(ALICE.public_text, "", "king", {}))),
        ("sovereign", with_accounts(GenesisAccount(SOVEREIGN.public_text, "", "user", {}))),
        ("malformed", with_accounts(GenesisAccount(ALICE.public_text, "alice", "user", {}))),
        ("malformed", with_accounts(GenesisAccount("alice", "", "user", {}))),
        (
            "usernames",
            with_accounts(
                GenesisAccount(ALICE.public_text, "@a", "user", {}), GenesisAccount(BOB.public_text, "@a", "user", {})
            ),
        ),
        (
            "sum",
            with_accounts(
                GenesisAccount(ALICE.public_text, "", "user", {"USD": "92233720368547758.07"}),
                GenesisAccount(BOB.public_text, "", "user", {"USD": "0.01"}),
            ),
        ),
        ("validator", msgspec.structs.replace(GENESIS, validators=())),
    ],
)
def test_invalid_genesis(words: str, genesis: Genesis) -> None:
    with pytest.raises(InvalidInput, match=re.compile(words, re.IGNORECASE)):
        Ledger.from_genesis(genesis)


def test_the_genesis_may_hold_all_the_money_there_can_be() -> None:
    genesis = with_accounts(
        GenesisAccount(ALICE.public_text, "@alice", "user", {"USD": "92233720368547758.07"}),
        GenesisAccount(SOVEREIGN.public_text, "@crown", "sovereign", {"USD": "0.00"}),
    )
    ledger = Ledger.from_genesis(genesis)
    assert ledger.get_supply()["USD"] == 2**63 - 1
    sovereign = ledger.get_account(SOVEREIGN.public_text)
    assert sovereign is not None
    assert sovereign.balances == {}


PEOPLE = (ALICE, BOB, CAROL, STAFF, SOVEREIGN)
steps = st.lists(
    st.tuples(
        st.sampled_from(["transfer", "deposit", "withdraw", "create", "empty"]),
        st.sampled_from(PEOPLE),
        st.sampled_from(PEOPLE),
        st.integers(1, 12_000),
        st.integers(0, 2),
    ),
    max_size=24,
)


@settings(deadline=None, max_examples=40)
@given(steps)
def test_any_chain_conserves_money_and_replays(
    story: list[tuple[str, KeyPair, KeyPair, int, int]],
) -> None:
    """Whatever is submitted: balances sum to the supply, and another node ends in the same state."""
    ledger, other = (Ledger.from_genesis(GENESIS, CountingVerifier()) for _ in range(2))
    for kind, sender, recipient, cents, nonce_error in story:
        account = ledger.get_account(sender.public_text)
        nonce = max(0, (account.nonce if account else 0) + nonce_error // 2)
        amount = f"{cents // 100}.{cents % 100:02d}"
        candidate = {
            "transfer": transfer(sender, recipient, nonce, amount),
            "deposit": deposit(recipient, nonce, amount),
            "withdraw": withdraw(recipient, nonce, amount),
            "create": create_user(sender, recipient, nonce, "@carol"),
        }.get(kind)
        candidates = [] if candidate is None else [candidate]
        block = ledger.build_block(PRODUCER, 0, candidates)
        other.execute(decoded(block))
        other.commit(decoded(block))
        ledger.commit(block)
        held = {"USD": 0, "BTC": 0}
        for key, row in ledger.tree.items():
            if key.startswith(b"account/"):
                for code, units in decode_account(row).balances.items():
                    held[code] += units
        assert held == ledger.get_supply()
    assert other.state_root == ledger.state_root
    assert {validator.public_key for validator in VALIDATORS} == {row[0] for row in ledger.validators.to_rows()}
