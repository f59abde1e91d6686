"""Removed validator counted: who leaves keeps its vote, only those who join are heeded."""

from tana.ledger import ledger
from tana.types.validator_set import Members
from testbed.planting import Patch

CAUGHT_BY = ("validator_sets", "justified", "certificates", "quorum")


def plant(patch: Patch) -> None:
    def keep(old: Members, new: Members) -> Members:
        kept = {item.public_key: item for item in (*old.validators, *new.validators)}
        return Members.create(kept.values())

    patch.edit(
        ledger.Ledger,
        "_set_tip",
        "self._next_validators.changed(State(tree).get_parent_members())",
        "self._next_validators.changed(keep(validators.members, State(tree).get_parent_members()))",
    )
    vars(ledger)["keep"] = keep
