from __future__ import annotations

import msgspec
import pytest

from tana.ledger.ledger import Execution, Ledger
from tana.types.block import RawTransaction
from tana.types.transaction import SignedTransaction
from testbed.invariants.money import Money
from tests.ledger import chain
from tests.testbed.tracing import Stage

encode = msgspec.msgpack.Encoder(order="deterministic").encode
Changes = dict[bytes, bytes | None]
ALICE_ROW, BOB_ROW = b"account/" + chain.ALICE.public_key, b"account/" + chain.BOB.public_key


def execute(*transactions: SignedTransaction) -> Execution:
    """What the real ledger makes of them."""
    ledger = Ledger.from_genesis(chain.make_genesis(), chain.CountingVerifier())
    return chain.build_and_commit(ledger, *transactions)


def commit(changes: Changes, *transactions: SignedTransaction) -> Stage:
    stage = Stage(Money(), genesis=chain.make_genesis())
    block = stage.block(1, transactions=[RawTransaction(item.text, item.signature) for item in transactions])
    stage.commit(0, block, stage.certificate(block, 0, (0, 1, 2)), changes=tuple(sorted(changes.items())))
    return stage


def test_what_the_ledger_does_is_accepted() -> None:
    transactions = [
        chain.create_user(chain.CAROL, chain.CAROL, 0, "@carol"),
        chain.deposit(chain.CAROL, 0, "7.50"),
        chain.transfer(chain.ALICE, chain.CAROL, 0, "100.00"),
        chain.transfer(chain.CAROL, chain.BOB, 1, "0.01"),
        chain.withdraw(chain.BOB, 1, "100.01"),
        chain.sign(chain.SOVEREIGN, chain.BOB, "role_change", 2, contractInput={"role": "staff"}),
    ]
    commit(dict(execute(*transactions).changes), *transactions).assert_proven("as the transactions add up to")


@pytest.mark.parametrize(
    ("forgery", "words"),
    [
        ({BOB_ROW: encode(["user", 0, {"USD": 10_200}])}, "is user with nonce 0 and 10200 USD (smallest units) ≠ user"),
        ({ALICE_ROW: encode(["user", 0, {"USD": 9_900}])}, "account"),
        ({BOB_ROW: None}, "is not there ≠ user"),
        ({b"supply/USD": encode(20_100)}, "supply is"),
        ({b"account/" + chain.CAROL.public_key: encode(["user", 0, {"USD": 5}])}, "account"),
    ],
)
def test_other_balances_are_rejected(forgery: Changes, words: str) -> None:
    transaction = chain.transfer(chain.ALICE, chain.BOB, 0, "1.00")
    changes = dict(execute(transaction).changes)
    commit({**changes, **forgery}, transaction).assert_violated("validator-1 at height 1", words)


def test_a_recipient_who_gets_nothing_is_rejected() -> None:
    transaction = chain.transfer(chain.ALICE, chain.BOB, 0, "1.00")
    changes = dict(execute(transaction).changes)
    del changes[BOB_ROW]
    commit(changes, transaction).assert_violated("account")


def test_a_negative_balance_is_rejected() -> None:
    transaction = chain.transfer(chain.ALICE, chain.BOB, 0, "150.00")
    changes: Changes = {
        ALICE_ROW: encode(["user", 1, {"USD": -5_000}]),
        BOB_ROW: encode(["user", 0, {"USD": 25_000}]),
    }
    commit(changes, transaction).assert_violated("is -5000 ≠ at least 0")
