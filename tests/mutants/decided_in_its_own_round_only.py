"""Decided in its own round only: precommits of a quorum in an earlier round count for nothing (L49)."""

from tana.consensus.votes import HeightVotes
from testbed.planting import Patch

CAUGHT_BY = ("justified",)


def plant(patch: Patch) -> None:
    patch.edit(
        HeightVotes,
        "add",
        "is_for_block = vote.kind == PRECOMMIT and vote.block_hash is not None",
        "is_for_block = vote.kind == PRECOMMIT and vote.block_hash is not None and vote.round == current_round",
    )
