"""State root of the parent: a header carries the root before its own transactions, and everybody checks that one."""

from tana.ledger.ledger import Ledger
from testbed.planting import Patch

CAUGHT_BY = ("state_root",)


def plant(patch: Patch) -> None:
    patch.edit(Ledger, "_seal", "state_root=tree.root,", "state_root=self.tree.root,")
    patch.edit(
        Ledger, "_execute", '_check_equal("state_root", tree.root,', '_check_equal("state_root", self.tree.root,'
    )
