"""Set change one height early: who is punished loses its power at the next height already."""

from tana.ledger.ledger import Ledger
from testbed.planting import Patch

CAUGHT_BY = ("validator_sets", "justified", "certificates", "quorum")


def plant(patch: Patch) -> None:
    patch.edit(
        Ledger,
        "_set_tip",
        "self.validators = validators",
        "upcoming = State(tree).get_upcoming_members()\n"
        "        self.validators = validators.changed(upcoming) if upcoming != validators.members else validators\n"
        "        validators = self.validators",
    )
