"""A chain of one validator built by hand: ledgers, blocks and certificates for tests without consensus."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tana.crypto.keys import KeyPair, parse_signature
from tana.ledger.ledger import Execution, Ledger
from tana.ledger.mempool import Mempool
from tana.node.effects import Seen, Signed
from tana.types.block import Block, Certificate, CommitSignature
from tana.types.genesis import SignedGenesis
from tana.types.messages import PRECOMMIT, BlockPart, Vote, vote_sign_bytes
from tana.types.transaction import SignedTransaction, sign_body
from tests.node.cluster import make_genesis, make_key

VALIDATOR = make_key("validator-1")
START_MS = 1_700_000_001_000


def make_vote(height: int, round: int = 0, kind: int = PRECOMMIT, key: KeyPair = VALIDATOR) -> Signed:
    """The log record of a signed vote for nil (its signature is not looked at)."""
    return Signed(Vote(kind, height, round, None, key.public_key, b"s" * 64))


def make_part(height: int, size_bytes: int) -> Seen:
    return Seen(BlockPart(height, b"b" * size_bytes))


@dataclass
class Chain:
    """The blocks so far, with the ledger at their tip."""

    signed: SignedGenesis = field(default_factory=lambda: make_genesis({"validator-1": VALIDATOR.public_key}))
    steps: list[tuple[Block, Certificate, Execution]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ledger = Ledger.from_genesis(self.signed.genesis)
        self.genesis_entries = list(self.ledger.tree.items())

    def grow(self, *bodies: dict[str, Any]) -> tuple[Block, Certificate, Execution]:
        """Commit one more block with these transactions."""
        mempool = Mempool(self.ledger)
        for body in bodies:
            assert mempool.add(parse_body(body)).status == "accepted"
        now_ms = START_MS + self.ledger.height * 1000
        block = self.ledger.build_block(VALIDATOR.public_key, now_ms, mempool.candidates())
        execution = self.ledger.commit(block)
        step = (block, make_certificate(self.ledger.chain_id, block), execution)
        self.steps.append(step)
        return step


def make_certificate(chain_id: bytes, block: Block) -> Certificate:
    signature = VALIDATOR.sign(vote_sign_bytes(chain_id, PRECOMMIT, block.height, 0, block.hash))
    return Certificate(block.height, 0, block.hash, (CommitSignature(VALIDATOR.public_key, signature),))


def parse_body(body: dict[str, Any]) -> SignedTransaction:
    return sign_body(body, parse_signature(body["signature"]))
