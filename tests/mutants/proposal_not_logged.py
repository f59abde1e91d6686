"""Proposal not logged: after a crash the proposer of a round proposes once more."""

from tana.consensus.tendermint import Tendermint
from testbed.planting import Patch

CAUGHT_BY = ("double_sign", "justified")


def plant(patch: Patch) -> None:
    patch.edit(Tendermint, "_propose", "            Append(Signed(proposal)),\n", "")
