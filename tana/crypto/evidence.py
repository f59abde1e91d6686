"""Whether evidence is what the validator it names did sign."""

from __future__ import annotations

from tana.crypto.keys import Verifier
from tana.types.evidence import Evidence


def is_evidence_signed(evidence: Evidence, chain_id: bytes, verifier: Verifier) -> bool:
    """Whether both messages bear the named validator's signature for this chain. Costs at most two checks."""
    return all(
        verifier(message.validator, message.sign_bytes(chain_id), message.signature)
        for message in (evidence.first, evidence.second)
    )
