"""Lock never released: whoever is locked prevotes nothing else, though the proposal shows a later polka (L28)."""

from tana.consensus.tendermint import Tendermint
from testbed.planting import Patch

CAUGHT_BY = ("recovery", "two_phase", "catch_up")


def plant(patch: Patch) -> None:
    patch.edit(
        Tendermint,
        "_try_prevote",
        "is_free = self.locked_round <= proposal.valid_round or self.locked_hash == block.hash",
        "is_free = self.locked_round == -1 or self.locked_hash == block.hash",
    )
