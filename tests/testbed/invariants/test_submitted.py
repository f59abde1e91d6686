from __future__ import annotations

import pytest

from tana.types.block import RawTransaction
from tana.types.transaction import SignedTransaction
from testbed.invariants.submitted import Submitted
from testbed.verdict import Outcome
from tests.ledger import chain
from tests.testbed.tracing import Stage


def raw(transaction: SignedTransaction) -> RawTransaction:
    return RawTransaction(transaction.text, transaction.signature)


def committed(*transactions: SignedTransaction, submit: bool = True, signature: bytes | None = None) -> Stage:
    """Validator 0 commits a block of the transactions, which were submitted before unless told otherwise."""
    stage = Stage(Submitted(), genesis=chain.make_genesis())
    if submit:
        for transaction in transactions:
            stage.trace.submitted(0, transaction)
    rows = [RawTransaction(item.text, signature or item.signature) for item in transactions]
    block = stage.block(1, transactions=rows)
    stage.commit(0, block, stage.certificate(block, 0, (0, 1, 2)))
    return stage


def test_submitted_signed_and_valid_ones_are_accepted() -> None:
    pair = chain.transfer(chain.ALICE, chain.BOB, 0), chain.transfer(chain.ALICE, chain.BOB, 1)
    committed(*pair).assert_proven("2 committed transactions")


def test_one_that_nobody_submitted_is_rejected() -> None:
    stage = Stage(Submitted(), genesis=chain.make_genesis())
    known, unknown = chain.transfer(chain.ALICE, chain.BOB, 0), chain.transfer(chain.BOB, chain.ALICE, 0)
    stage.trace.submitted(0, known)
    block = stage.block(1, transactions=[raw(known), raw(unknown)])
    stage.commit(0, block, stage.certificate(block, 0, (0, 1, 2)))
    stage.assert_violated("validator-1 at height 1", f"{unknown.id[:8]}…: nobody submitted it")


def test_without_submissions_it_cannot_tell() -> None:
    verdict = committed(chain.transfer(chain.ALICE, chain.BOB, 0), submit=False).finish()
    assert verdict.outcome is Outcome.COULD_NOT_TELL
    assert verdict.line == "it is not known what was submitted"


def test_a_bad_signature_is_rejected() -> None:
    stage = committed(chain.transfer(chain.ALICE, chain.BOB, 0), signature=bytes(64))
    stage.assert_violated("its signature is not by its sender")


@pytest.mark.parametrize(
    ("transaction", "words"),
    [
        (chain.transfer(chain.ALICE, chain.BOB, 1), "its nonce is 1 and its sender's next is 0"),
        (chain.transfer(chain.ALICE, chain.BOB, 0, "100.01"), "10000 USD are there and 10001 are moved"),
        (chain.transfer(chain.CAROL, chain.BOB, 0), "its sender has no account"),
        (chain.transfer(chain.ALICE, chain.CAROL, 0), "its recipient has no account"),
    ],
)
def test_an_invalid_one_is_rejected(transaction: SignedTransaction, words: str) -> None:
    committed(transaction).assert_violated(words)
