"""Decided in its own round only: precommits of a quorum in an earlier round count for nothing (L49)."""

from tana.consensus.votes import HeightVotes
from testbed.planting import Patch

CAUGHT_BY = ("justified",)


def plant(patch: Patch) -> None:
    patch.edit(
        HeightVotes,
        "add",
        "if kind == PRECOMMIT and self.decision is None:",
        "if kind == PRECOMMIT and round == current_round and self.decision is None:",
    )
