"""Precommit without polka: a third of the prevotes is enough to precommit a block."""

from tana.consensus.votes import VoteTally
from testbed.planting import Patch

CAUGHT_BY = ("justified", "agreement", "certificates", "quorum")


def plant(patch: Patch) -> None:
    patch.edit(VoteTally, "add", "is_quorum(backing)", "is_one_third(backing - 1)")
