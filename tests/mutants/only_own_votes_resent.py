"""Only own votes re-sent: nobody passes on what others said (malachite#235)."""

from tana.consensus.announcements import find_lacking
from tana.consensus.tendermint import Tendermint
from tana.node import machine
from tana.types.messages import Announcement, BlockPart, Proposal, Vote, VoteQuorum
from testbed.planting import Patch

CAUGHT_BY = ("recovery", "two_phase", "catch_up")


def plant(patch: Patch) -> None:
    def find_own(core: Tendermint, peer: Announcement) -> list[Vote | Proposal | VoteQuorum | BlockPart]:
        own = core._signer.public_key if core._signer is not None else b""
        found = find_lacking(core, peer)
        return [item for item in found if isinstance(item, Vote | Proposal) and item.validator == own]

    patch.set(machine, "find_lacking", find_own)
