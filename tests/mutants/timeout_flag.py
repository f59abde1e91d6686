"""Timeout flag: that a timer was set once keeps it from being set in later rounds (tendermint#3199)."""

from tana.consensus.tendermint import Tendermint
from testbed.planting import Patch

CAUGHT_BY = ("recovery", "two_phase", "catch_up")


def plant(patch: Patch) -> None:
    patch.edit(
        Tendermint, "_schedule", "if (kind, self.round) not in self._scheduled:", "if (kind, 0) not in self._scheduled:"
    )
    patch.edit(Tendermint, "_schedule", "self._scheduled.add((kind, self.round))", "self._scheduled.add((kind, 0))")
