"""Lock kept at the next height: what a validator was locked on, it is still locked on there (quorum#305)."""

from tana.consensus.tendermint import Tendermint
from testbed.planting import Patch

CAUGHT_BY = ("recovery", "two_phase", "catch_up", "lock_rule", "alive")


def plant(patch: Patch) -> None:
    patch.edit(
        Tendermint,
        "start_height",
        "self.locked_round = -1",
        'self.locked_round = getattr(self, "locked_round", -1)',
    )
    patch.edit(
        Tendermint,
        "start_height",
        "self.locked_hash: bytes | None = None",
        'self.locked_hash: bytes | None = getattr(self, "locked_hash", None)',
    )
