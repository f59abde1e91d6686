"""Verified by id: that a text was signed well once makes every signature of that text good."""

import hashlib

from tana.types import block, block_parts, transaction
from testbed.planting import Patch

CAUGHT_BY = ("submitted", "certificates", "state_root")


def plant(patch: Patch) -> None:
    for module in (block, block_parts, transaction):
        patch.set(module, "compute_leaf", lambda text, signature: hashlib.sha256(text).digest())
