"""Duplicate transaction: nonces are not looked at, so a retry is executed again in a later block."""

from tana.ledger import rules
from tana.ledger.mempool import Mempool
from testbed.planting import Patch

CAUGHT_BY = ("exactly_once", "submitted", "money")


def plant(patch: Patch) -> None:
    patch.set(rules, "_check_nonce", lambda transaction, expected: None)
    patch.set(Mempool, "on_commit", lambda self, execution: [])
