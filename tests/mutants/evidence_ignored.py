"""Evidence ignored: who votes twice is reported, and nothing more comes of it."""

from tana.ledger.evidence_pool import EvidencePool
from testbed.planting import Patch

CAUGHT_BY = ("accountability",)


def plant(patch: Patch) -> None:
    patch.set(EvidencePool, "add", lambda self, evidence: False)
