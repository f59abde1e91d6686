"""A small chain for the ledger's tests: keys, a genesis, signed transactions, and blocks made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from tana.crypto import merkle
from tana.crypto.keys import KeyPair
from tana.ledger.ledger import Execution, Ledger
from tana.types.block import Block, RawTransaction
from tana.types.evidence import Evidence
from tana.types.genesis import (
    Genesis,
    GenesisAccount,
    GenesisCurrency,
    GenesisParameters,
    GenesisValidator,
)
from tana.types.sign_bytes import vote_sign_bytes
from tana.types.transaction import SignedTransaction, sign_body
from tana.types.vote import PREVOTE, Vote

SOVEREIGN = KeyPair.from_seed(b"s" * 32)
STAFF = KeyPair.from_seed(b"t" * 32)
ALICE = KeyPair.from_seed(b"a" * 32)
BOB = KeyPair.from_seed(b"b" * 32)
CAROL = KeyPair.from_seed(b"c" * 32)
VALIDATORS = tuple(KeyPair.from_seed(bytes([number]) * 32) for number in (1, 2, 3))
PRODUCER = VALIDATORS[0].public_key
CREATED_AT_MS = 1_763_424_000_000


class CountingVerifier:
    """A stand-in for signature checks: takes every signature but the all-zero one, and counts the calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        self.calls += 1
        return signature != bytes(64)


def make_genesis(**parameters: Any) -> Genesis:
    """Three validators of power 1; Alice and Bob have 100.00 USD each, a member of staff, and no Carol."""
    return Genesis(
        version=1,
        createdAt=CREATED_AT_MS,
        sovereign=SOVEREIGN.public_text,
        currencies=(GenesisCurrency("USD", 2), GenesisCurrency("BTC", 8)),
        validators=tuple(
            GenesisValidator(f"validator-{index}", pair.public_text, 1) for index, pair in enumerate(VALIDATORS)
        ),
        accounts=(
            GenesisAccount(ALICE.public_text, "@alice", "user", {"USD": "100.00"}),
            GenesisAccount(BOB.public_text, "@bob", "user", {"USD": "100.00"}),
            GenesisAccount(STAFF.public_text, "@staff", "staff", {}),
        ),
        parameters=GenesisParameters(**parameters),
    )


def sign(sender: KeyPair, recipient: KeyPair, kind: str, nonce: int, **fields: Any) -> SignedTransaction:
    """A transaction with a real signature by `sender`."""
    body = {
        "type": kind,
        "from": sender.public_text,
        "to": recipient.public_text,
        "timestamp": CREATED_AT_MS,
        "nonce": nonce,
        **fields,
    }
    unsigned = sign_body(body, bytes(64))
    return SignedTransaction(unsigned.text, sender.sign(unsigned.text), unsigned.transaction)


def transfer(
    sender: KeyPair, recipient: KeyPair, nonce: int, amount: str = "1.00", code: str = "USD", **fields: Any
) -> SignedTransaction:
    return sign(sender, recipient, "transfer", nonce, amount=amount, currencyCode=code, **fields)


def deposit(recipient: KeyPair, nonce: int, amount: str = "5.00", code: str = "USD") -> SignedTransaction:
    return sign(SOVEREIGN, recipient, "deposit", nonce, amount=amount, currencyCode=code)


def withdraw(recipient: KeyPair, nonce: int, amount: str = "5.00", code: str = "USD") -> SignedTransaction:
    return sign(SOVEREIGN, recipient, "withdraw", nonce, amount=amount, currencyCode=code)


def create_user(sender: KeyPair, recipient: KeyPair, nonce: int, username: str, **fields: Any) -> SignedTransaction:
    return sign(sender, recipient, "user_creation", nonce, contractInput={"username": username, **fields})


def build_and_commit(ledger: Ledger, *transactions: SignedTransaction) -> Execution:
    """One more block with all of the transactions."""
    block = ledger.build_block(PRODUCER, ledger.time_ms + 1000, transactions)
    assert len(block.transactions) == len(transactions), "a transaction was left out"
    return ledger.commit(block)


def remake(
    block: Block,
    transactions: Sequence[RawTransaction] | None = None,
    evidence: Sequence[Evidence] | None = None,
    **header_fields: Any,
) -> Block:
    """The block with other header fields, and other transactions and evidence (under their own roots) where given."""
    if evidence is not None:
        header_fields = {"evidence_root": merkle.compute_root([item.hash for item in evidence]), **header_fields}
    if transactions is not None:
        header_fields = {
            "transaction_count": len(transactions),
            "transactions_root": merkle.compute_root([raw.leaf for raw in transactions]),
            **header_fields,
        }
    header = msgspec.structs.replace(block.header, **header_fields)
    return Block.create(
        header,
        block.transactions if transactions is None else transactions,
        block.evidence if evidence is None else evidence,
    )


def accuse(
    key: KeyPair,
    height: int,
    kind: int = PREVOTE,
    *,
    round: int = 0,
    values: tuple[bytes | None, bytes | None] = (None, b"b" * 32),
    chain_id: bytes | None = None,
) -> Evidence:
    """Evidence with real signatures: two votes by `key`, on the chain of `make_genesis()` where no other is named."""
    chain = chain_id or make_genesis().compute_chain_id()
    votes = []
    for value in values:
        signature = key.sign(vote_sign_bytes(chain, kind, height, round, value))
        votes.append(Vote(kind, height, round, value, key.public_key, signature))
    return Evidence.create(*votes)
