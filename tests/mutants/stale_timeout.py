"""Stale timeout acted on: a timer of an earlier height or round moves the node, as if it were of this one."""

from tana.consensus.tendermint import Tendermint
from testbed.planting import Patch

CAUGHT_BY = ("justified",)


def plant(patch: Patch) -> None:
    patch.edit(Tendermint, "on_timeout", "if timer.height != self.height or", "if timer.height > self.height or")
    patch.edit(Tendermint, "on_timeout", "if timer.round != self.round:", "if timer.round > self.round:")
