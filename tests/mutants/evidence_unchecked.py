"""Evidence unchecked: whoever is accused is punished, though the votes are not signed by it."""

from tana.ledger.ledger import Ledger
from testbed.planting import Patch

CAUGHT_BY = ("accountability",)


def plant(patch: Patch) -> None:
    patch.set(Ledger, "_is_evidence_signed", lambda self, evidence: True)
