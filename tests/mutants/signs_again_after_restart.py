"""Signs again after a restart: what the log says of earlier votes is not read."""

from tana.consensus.tendermint import Tendermint
from testbed.planting import Patch

CAUGHT_BY = ("double_sign", "lock_rule")


def plant(patch: Patch) -> None:
    patch.set(Tendermint, "_restore", lambda self, records: None)
    patch.edit(Tendermint, "_may_sign", " or slot <= self._sign_floor", "")
    patch.set(Tendermint, "_rise_above_floor", lambda self: None)
