"""State root unchecked: a proposer's root is believed."""

from tana.ledger.ledger import Ledger
from testbed.planting import Patch

CAUGHT_BY = ("state_root", "agreement", "halted")


def plant(patch: Patch) -> None:
    patch.edit(Ledger, "_execute", '_check_equal("state_root", tree.root, block.header.state_root)', "pass")
