"""Evidence: its one form, and what is none."""

from __future__ import annotations

import msgspec
import pytest

from tana.types.errors import InvalidInput
from tana.types.evidence import EVIDENCE_BYTES_MAX, Evidence
from tana.types.vote import PRECOMMIT, PREVOTE, Proposal, Vote

A, B, KEY, SIGNATURE = b"a" * 32, b"b" * 32, b"v" * 32, b"s" * 64


def vote(value: bytes | None, kind: int = PREVOTE, height: int = 7, round: int = 3, key: bytes = KEY) -> Vote:
    return Vote(kind, height, round, value, key, SIGNATURE)


def proposal(value: bytes, valid_round: int = -1, round: int = 3) -> Proposal:
    return Proposal(7, round, value, valid_round, KEY, SIGNATURE)


@pytest.mark.parametrize(
    ("one", "other", "kind"),
    [
        (vote(A), vote(B), "prevote"),
        (vote(None), vote(B), "prevote"),
        (vote(A, PRECOMMIT), vote(B, PRECOMMIT), "precommit"),
        (proposal(A), proposal(B), "proposal"),
        (proposal(A), proposal(A, valid_round=1), "proposal"),
    ],
)
def test_two_messages_for_one_slot(one: Vote | Proposal, other: Vote | Proposal, kind: str) -> None:
    evidence = Evidence.create(one, other)
    evidence.check_form()
    assert (evidence.kind, evidence.height, evidence.validator) == (kind, 7, KEY)
    assert Evidence.create(other, one) == evidence
    assert Evidence.create(other, one).hash == evidence.hash


HARMLESS: dict[str, tuple[Vote | Proposal, Vote | Proposal]] = {
    "the_same_twice": (vote(A), vote(A)),
    "another_signature_under_equal_fields": (vote(A), msgspec.structs.replace(vote(A), signature=b"t" * 64)),
    "another_height": (vote(A), vote(B, height=8)),
    "another_round": (vote(A), vote(B, round=4)),
    "another_kind": (vote(A), vote(B, PRECOMMIT)),
    "another_validator": (vote(A), vote(B, key=b"w" * 32)),
    "a_proposal_and_a_vote": (proposal(A), vote(B)),
    "proposals_of_two_rounds": (proposal(A), proposal(B, round=4)),
    "wrong_order": (vote(B), vote(A)),
    "nil_last": (vote(B), vote(None)),
}


@pytest.mark.parametrize("reason", HARMLESS)
def test_invalid_pair(reason: str) -> None:
    with pytest.raises(InvalidInput, match="proves nothing"):
        Evidence(*HARMLESS[reason]).check_form()


def test_hash_covers_signatures() -> None:
    evidence = Evidence.create(vote(A), vote(B))
    other = msgspec.structs.replace(evidence, first=msgspec.structs.replace(evidence.first, signature=b"t" * 64))
    assert other.hash != evidence.hash


def test_size_is_bounded() -> None:
    message = Proposal(2**62, 2**31, A, 2**31, KEY, SIGNATURE)
    assert len(msgspec.msgpack.encode(Evidence(message, message))) < EVIDENCE_BYTES_MAX
