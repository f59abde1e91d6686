"""Verified by id: that a text was signed well once makes every signature of that text good."""

import hashlib

from tana.types.block import RawTransaction
from tana.types.transaction import SignedTransaction
from testbed.planting import Patch

CAUGHT_BY = ("submitted", "certificates", "state_root")


def plant(patch: Patch) -> None:
    leaf = property(lambda self: hashlib.sha256(self.text).digest())
    patch.set(RawTransaction, "leaf", leaf)
    patch.set(SignedTransaction, "leaf", leaf)
