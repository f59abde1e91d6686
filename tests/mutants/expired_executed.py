"""Expired executed: a transaction is good for one block longer than it says."""

from tana.ledger import rules
from testbed.planting import Patch

CAUGHT_BY = ("submitted",)


def plant(patch: Patch) -> None:
    patch.edit(rules, "_check_metadata", "if context.parent_height >= expires:", "if context.parent_height > expires:")
