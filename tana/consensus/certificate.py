"""Commit certificates: made from precommits, and checked by whoever did not see the votes."""

from __future__ import annotations

from tana.consensus.votes import VoteTally
from tana.crypto.keys import Verifier
from tana.types.block import Certificate, CommitSignature
from tana.types.errors import InvalidInput
from tana.types.messages import PRECOMMIT, vote_sign_bytes
from tana.types.validator_set import ValidatorSet


def create_certificate(height: int, round: int, block_hash: bytes, precommits: VoteTally) -> Certificate:
    """The certificate of a decided block, from a tally that holds a quorum for it."""
    signatures = tuple(CommitSignature(vote.validator, vote.signature) for vote in precommits.select(block_hash))
    return Certificate(height, round, block_hash, signatures)


def verify_certificate(certificate: Certificate, chain_id: bytes, validators: ValidatorSet, verifier: Verifier) -> None:
    """Check that a certificate proves its block final.

    `validators` is the set of the certificate's height. Raises `InvalidInput` where a signer is unknown or there
    twice, a signature is wrong, or the power is no quorum.
    """
    message = vote_sign_bytes(chain_id, PRECOMMIT, certificate.height, certificate.round, certificate.block_hash)
    seen: set[bytes] = set()
    power = 0
    for item in certificate.signatures:
        weight = validators.get_power(item.validator)
        if weight == 0:
            raise _refuse(certificate, f"signer {item.validator.hex()[:8]} is not a validator of this height")
        if item.validator in seen:
            raise _refuse(certificate, f"signer {item.validator.hex()[:8]} is there twice")
        if not verifier(item.validator, message, item.signature):
            raise _refuse(certificate, f"the signature of {item.validator.hex()[:8]} is wrong")
        seen.add(item.validator)
        power += weight
    if not validators.is_quorum(power):
        raise _refuse(certificate, f"its power is {power} and a quorum needs {validators.quorum_power}")


def _refuse(certificate: Certificate, reason: str) -> InvalidInput:
    return InvalidInput(
        f"certificate of height {certificate.height}: {reason}", code="bad_certificate", field="certificate"
    )
