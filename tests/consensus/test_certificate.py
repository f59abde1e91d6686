"""Certificates that prove, and each way in which one does not."""

from __future__ import annotations

import msgspec
import pytest

from tana.consensus.certificate import create_certificate, verify_certificate
from tana.consensus.votes import VoteTally
from tana.types.block import Certificate, CommitSignature
from tana.types.errors import InvalidInput
from tana.types.messages import PRECOMMIT, Vote, vote_sign_bytes
from tests.consensus.helpers import CHAIN_ID, StandInSigner, make_validators, verify_stand_in

VALIDATORS = make_validators([1, 1, 1, 1])
HASH = b"h" * 32


def make_certificate(signers: int = 3) -> Certificate:
    tally = VoteTally(VALIDATORS)
    for item in VALIDATORS.validators[:signers]:
        signature = StandInSigner(item.public_key).sign(vote_sign_bytes(CHAIN_ID, PRECOMMIT, 5, 2, HASH))
        tally.add(Vote(PRECOMMIT, 5, 2, HASH, item.public_key, signature))
    return create_certificate(5, 2, HASH, tally)


def refuse(certificate: Certificate, words: str, chain_id: bytes = CHAIN_ID) -> None:
    with pytest.raises(InvalidInput, match=words):
        verify_certificate(certificate, chain_id, VALIDATORS, verify_stand_in)


def test_certificate_of_a_quorum_verifies() -> None:
    verify_certificate(make_certificate(), CHAIN_ID, VALIDATORS, verify_stand_in)


def test_invalid_power_below_the_quorum() -> None:
    refuse(make_certificate(signers=2), "power is 2 and a quorum needs 3")


def test_invalid_signer_there_twice() -> None:
    good = make_certificate(signers=2)
    refuse(msgspec.structs.replace(good, signatures=(*good.signatures, good.signatures[0])), "there twice")


def test_invalid_signer_unknown() -> None:
    stranger = CommitSignature(b"x" * 32, b"s" * 64)
    refuse(msgspec.structs.replace(make_certificate(), signatures=(stranger,)), "not a validator")


@pytest.mark.parametrize("change", [{"height": 6}, {"round": 1}, {"block_hash": b"i" * 32}])
def test_invalid_certificate_for_another_height_round_or_block(change: dict[str, object]) -> None:
    refuse(msgspec.structs.replace(make_certificate(), **change), "signature of .* is wrong")


def test_invalid_certificate_of_another_chain() -> None:
    refuse(make_certificate(), "signature of .* is wrong", chain_id=b"x" * 32)
