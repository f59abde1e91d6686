"""Replayed vote counted: the same vote, sent twice, has twice its power."""

from tana.consensus.votes import HeightVotes, VoteTally
from testbed.planting import Patch

CAUGHT_BY = ("certificates", "justified", "quorum", "no_quorum", "agreement")


def plant(patch: Patch) -> None:
    patch.set(HeightVotes, "is_news", lambda self, vote: True)
    patch.edit(VoteTally, "add", "if earlier and (self.holds(vote) or self.is_over_bound(vote)):", "if False:")
