"""Sync with the next set: a certificate is checked against those who decide the height after it."""

from tana.node.machine import Machine
from testbed.planting import Patch

CAUGHT_BY = ("two_phase", "catch_up", "recovery", "certificates")


def plant(patch: Patch) -> None:
    patch.edit(
        Machine,
        "_apply_final",
        "self.ledger.chain_id, self.ledger.validators,",
        "self.ledger.chain_id, self.ledger._next_validators,",
    )
