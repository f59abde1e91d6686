"""Nil polka ignored: a quorum prevoted nil, nobody precommits, the next round never starts (tendermint#3003)."""

from tana.consensus.tendermint import Tendermint
from testbed.planting import Patch

CAUGHT_BY = ("recovery", "two_phase", "catch_up")


def plant(patch: Patch) -> None:
    patch.set(Tendermint, "_try_precommit_nil", lambda self, *polka: False)
    patch.edit(
        Tendermint,
        "_schedule_waiting",
        "if self.step == Step.PREVOTE and self.votes.get(self.round, PREVOTE).has_any_quorum():",
        "prevotes = self.votes.get(self.round, PREVOTE)\n"
        "        if self.step == Step.PREVOTE and prevotes.has_any_quorum() and not prevotes.find_quorum()[0]:",
    )
