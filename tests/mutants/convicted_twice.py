"""Convicted twice: evidence against a validator that was convicted goes into a block again."""

from tana.ledger import offences
from testbed.planting import Patch

CAUGHT_BY = ("accountability",)


def plant(patch: Patch) -> None:
    patch.edit(offences, "check_offence", "if state.get_punishment(evidence.validator) is not None:", "if False:")
    from tana.ledger import ledger

    patch.set(ledger, "check_offence", offences.check_offence)
