from __future__ import annotations

from tana.types.block import RawTransaction
from testbed.invariants.durability import Durability
from testbed.verdict import Outcome
from tests.ledger import chain
from tests.testbed.tracing import Stage

TRANSACTION = chain.transfer(chain.ALICE, chain.BOB, 0)


def acknowledged(height: int = 1) -> Stage:
    """Validator 0 has committed the transaction at height 1 and says it is final at `height`."""
    stage = Stage(Durability())
    stage.trace.submitted(0, TRANSACTION)
    stage.decide(stage.block(1, transactions=[RawTransaction(TRANSACTION.text, TRANSACTION.signature)]))
    stage.trace.acknowledged(stage.now_ms, "validator-1", TRANSACTION.id, height)
    return stage


def test_an_acknowledgement_that_survives_a_crash_is_accepted() -> None:
    stage = acknowledged()
    stage.end(0)
    stage.begin(0)
    stage.assert_proven("1 acknowledgements kept across 1 restarts")


def test_a_crash_that_loses_it_is_rejected() -> None:
    stage = acknowledged()
    stage.end(0)
    stage.begin(0, height=0)
    stage.assert_violated("validator-1 begins again at height 0 ≠ height 1", TRANSACTION.id[:8])


def test_an_acknowledgement_of_what_is_in_no_block_is_rejected() -> None:
    stage = Stage(Durability())
    stage.trace.submitted(0, TRANSACTION)
    stage.decide(stage.block(1))
    stage.trace.acknowledged(stage.now_ms, "validator-1", TRANSACTION.id, 1)
    stage.assert_violated("validator-1 acknowledged", "in no block")


def test_an_acknowledgement_of_another_height_is_rejected() -> None:
    acknowledged(height=2).assert_violated("at height 2 ≠ at height 1")


def test_a_wiped_node_has_lost_it_with_its_disk() -> None:
    stage = acknowledged()
    stage.end(0)
    stage.trace.wipe("validator-1", stage.now_ms)
    stage.begin(0, height=0)
    stage.assert_proven()


def test_without_clients_it_cannot_tell() -> None:
    stage = Stage(Durability())
    stage.decide(stage.block(1))
    assert stage.finish().outcome is Outcome.COULD_NOT_TELL
