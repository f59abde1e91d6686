"""Timeouts never grow: those of late rounds are as short as those of the first."""

from tana.consensus.tendermint import Timeouts
from testbed.planting import Patch

CAUGHT_BY = ("recovery", "two_phase", "catch_up")


def plant(patch: Patch) -> None:
    patch.edit(Timeouts, "of", "return base + round * self.timeout_delta_ms", "return base")
