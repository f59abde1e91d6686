"""Evidence convicts only who signed both messages, for this chain."""

from __future__ import annotations

import msgspec
import pytest

from tana.crypto.evidence import is_evidence_signed
from tana.crypto.keys import KeyPair, verify
from tana.types.evidence import Evidence
from tana.types.sign_bytes import proposal_sign_bytes
from tana.types.vote import Proposal

CHAIN, KEY, OTHER = b"c" * 32, KeyPair.from_seed(b"k" * 32), KeyPair.from_seed(b"o" * 32)


def propose(value: bytes, key: KeyPair = KEY, valid_round: int = -1) -> Proposal:
    signature = key.sign(proposal_sign_bytes(CHAIN, 7, 3, value, valid_round))
    return Proposal(7, 3, value, valid_round, KEY.public_key, signature)


GOOD = Evidence.create(propose(b"a" * 32), propose(b"b" * 32))


def test_both_messages_are_signed() -> None:
    assert is_evidence_signed(GOOD, CHAIN, verify)
    assert is_evidence_signed(Evidence.create(propose(b"a" * 32), propose(b"a" * 32, valid_round=2)), CHAIN, verify)


@pytest.mark.parametrize("side", ["first", "second"])
def test_invalid_signature_of_another(side: str) -> None:
    forged = propose(getattr(GOOD, side).block_hash, OTHER)
    assert not is_evidence_signed(msgspec.structs.replace(GOOD, **{side: forged}), CHAIN, verify)


def test_invalid_on_another_chain() -> None:
    assert not is_evidence_signed(GOOD, b"x" * 32, verify)
