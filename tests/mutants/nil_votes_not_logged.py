"""Nil votes not logged: only what is for a block is kept, so after a crash the slot is signed once more."""

from tana.consensus.tendermint import Tendermint
from testbed.planting import Patch

CAUGHT_BY = ("double_sign",)


def plant(patch: Patch) -> None:
    patch.edit(
        Tendermint,
        "_cast",
        "self._effects += [Append(Signed(vote)), Flush(), Broadcast(vote)]",
        "self._effects += [Append(Signed(vote)), Flush()] if block_hash is not None else []\n"
        "        self._effects.append(Broadcast(vote))",
    )
