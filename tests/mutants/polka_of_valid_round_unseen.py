"""Polka of the valid round unseen: that a proposal names an earlier polka is believed without its votes (L28)."""

from tana.consensus.tendermint import Tendermint
from testbed.planting import Patch

CAUGHT_BY = ("lock_rule",)


def plant(patch: Patch) -> None:
    patch.edit(Tendermint, "_try_prevote", "if not self._is_polka(proposal.valid_round, block.hash):", "if False:")
