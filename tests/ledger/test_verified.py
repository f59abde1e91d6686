"""The memory of verified signatures."""

from __future__ import annotations

from tana.ledger.verified import VerifiedMemory
from tana.types.transaction import SignedTransaction
from tests.ledger.chain import ALICE, BOB, transfer


def test_finds_the_parsed_transaction_by_leaf() -> None:
    memory, stx = VerifiedMemory(), transfer(ALICE, BOB, 0)
    memory.remember(stx)
    assert memory.get(stx.leaf) is stx


def test_another_signature_under_the_same_text_is_another_entry() -> None:
    memory, good = VerifiedMemory(), transfer(ALICE, BOB, 0)
    bad = SignedTransaction(good.text, bytes(64), good.transaction)
    memory.remember(good)
    assert bad.id == good.id
    assert memory.get(bad.leaf) is None


def test_forgets_the_oldest_when_full() -> None:
    memory = VerifiedMemory(max_transactions=2)
    first, second, third = (transfer(ALICE, BOB, nonce) for nonce in range(3))
    for stx in (first, second, third):
        memory.remember(stx)
    assert len(memory) == 2
    assert memory.get(first.leaf) is None
    assert memory.get(third.leaf) is third


def test_forgets_what_it_is_told_to() -> None:
    memory, stx = VerifiedMemory(), transfer(ALICE, BOB, 0)
    memory.remember(stx)
    memory.forget([stx.leaf, b"never seen"])
    assert memory.get(stx.leaf) is None
    assert len(memory) == 0
