"""Sync without check: whether a certificate is for the block that comes with it is not looked at, nor the body."""

from tana.node import machine
from tana.node.machine import Machine
from testbed.planting import Patch

CAUGHT_BY = ("certificates", "agreement", "halted", "alive", "state_root", "parent_links")


def plant(patch: Patch) -> None:
    patch.edit(
        Machine,
        "_apply_final",
        "if certificate.height != block.height or certificate.block_hash != block.hash:",
        "if certificate.height != block.height:",
    )
    patch.set(machine, "verify_body", lambda block: None)
