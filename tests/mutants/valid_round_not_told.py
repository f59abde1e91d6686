"""Valid round not told: a proposer shows the block of a polka again, as if it were fresh (L19)."""

from tana.consensus.tendermint import Tendermint
from testbed.planting import Patch

CAUGHT_BY = ("two_phase", "recovery", "catch_up", "lock_rule")


def plant(patch: Patch) -> None:
    patch.edit(
        Tendermint,
        "_sign_proposal",
        "Proposal(self.height, self.round, block_hash, self.valid_round, signer",
        "Proposal(self.height, self.round, block_hash, -1, signer",
    )
    patch.edit(
        Tendermint,
        "_sign_proposal",
        "self.height, self.round, block_hash, self.valid_round)",
        "self.height, self.round, block_hash, -1)",
    )
