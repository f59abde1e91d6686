"""Sync gives up: after one request that nobody answered no other is made."""

from tana.node.sync import Sync
from testbed.planting import Patch

CAUGHT_BY = ("recovery", "two_phase", "catch_up")


def plant(patch: Patch) -> None:
    patch.set(Sync, "on_timeout", lambda self: None)
