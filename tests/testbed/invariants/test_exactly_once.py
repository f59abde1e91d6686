from __future__ import annotations

from tana.types.block import RawTransaction
from testbed.invariants.exactly_once import ExactlyOnce
from tests.ledger import chain
from tests.testbed.tracing import Stage

ONE = chain.transfer(chain.ALICE, chain.BOB, 0)
OTHER = chain.transfer(chain.ALICE, chain.BOB, 1)


def commit_blocks(*blocks: list[RawTransaction]) -> Stage:
    stage = Stage(ExactlyOnce(), genesis=chain.make_genesis())
    for _ in range(3):
        stage.trace.submitted(0, ONE)
    for height, transactions in enumerate(blocks, 1):
        block = stage.block(height, transactions=transactions)
        for node in (0, 1):
            stage.commit(node, block, stage.certificate(block, 0, (0, 1, 2)))
        stage.parent = block.hash
    return stage


def raw(signature: bytes = bytes(64), *, other: bool = False) -> RawTransaction:
    return RawTransaction(OTHER.text if other else ONE.text, signature)


def test_retries_that_are_committed_once_are_accepted() -> None:
    commit_blocks([raw()], [raw(other=True)]).assert_proven("2 transactions, sent 3 times, each in one block")


def test_twice_in_two_blocks_is_rejected() -> None:
    commit_blocks([raw()], [], [raw(b"x" * 64)]).assert_violated("validator-1 at height 3", "already at height 1")


def test_twice_in_one_block_is_rejected() -> None:
    commit_blocks([raw(), raw()]).assert_violated("validator-1 at height 1", "already at height 1")
