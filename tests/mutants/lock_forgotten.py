"""Lock forgotten: a validator that has locked a block prevotes whatever else is freshly proposed."""

from tana.consensus.tendermint import Tendermint
from testbed.planting import Patch

CAUGHT_BY = ("lock_rule", "agreement", "accountability")


def plant(patch: Patch) -> None:
    patch.edit(
        Tendermint,
        "_try_prevote",
        "is_free = self.locked_round == -1 or self.locked_hash == block.hash",
        "is_free = True",
    )
