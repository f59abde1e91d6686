"""Lock lost in a restart: votes are restored from the log, and what they locked is not."""

from tana.consensus.tendermint import Tendermint
from testbed.planting import Patch

CAUGHT_BY = ("lock_rule",)


def plant(patch: Patch) -> None:
    patch.edit(
        Tendermint,
        "_restore",
        "if isinstance(vote, Vote) and vote.block_hash is not None:",
        "if False:",
    )
