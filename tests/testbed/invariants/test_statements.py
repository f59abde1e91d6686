"""The book of what was signed: it knows a message by its signature, and no other message by the same one."""

from __future__ import annotations

from itertools import pairwise

import msgspec

from tana.types.messages import PRECOMMIT, PREVOTE, Proposal, Vote
from testbed.invariants.agreement import Agreement
from testbed.invariants.statements import HEIGHTS_REMEMBERED, Statement, Statements
from tests.testbed.tracing import Stage


def make_vote(height: int, round: int = 0, kind: int = PREVOTE) -> Vote:
    return Vote(kind, height, round, b"b" * 32, b"v" * 32, f"{height}/{round}/{kind}".encode().ljust(64))


def make_proposal(height: int, round: int) -> Proposal:
    return Proposal(height, round, b"b" * 32, -1, b"v" * 32, b"p" * 64)


def test_slots_stand_in_the_order_of_signing() -> None:
    messages: list[Vote | Proposal] = [
        make_proposal(1, 0),
        make_vote(1),
        make_vote(1, kind=PRECOMMIT),
        make_proposal(1, 1),
        make_vote(1, 1),
        make_vote(2),
    ]
    statements = [Statement(message) for message in messages]
    assert [statement.slot for statement in statements] == sorted(statement.slot for statement in statements)
    for earlier, later in pairwise(statements):
        assert later.is_after(earlier)
        assert not earlier.is_after(later)


def test_the_very_message_that_was_signed_is_read_from_the_book() -> None:
    book, vote = Statements(), make_vote(3)
    noted = Statement(vote)
    book.note(noted)
    assert book.read(vote) is noted
    copy = book.read(msgspec.structs.replace(vote))
    assert copy is not noted
    assert not copy.is_noted
    assert book.find(3, vote.signature) is noted
    assert book.find(4, vote.signature) is None, "a signature is of one height"


def test_old_heights_are_forgotten() -> None:
    book = Statements()
    for height in range(1, HEIGHTS_REMEMBERED + 3):
        book.note(Statement(make_vote(height)))
    assert not book.remembers(2)
    assert book.find(2, make_vote(2).signature) is None
    assert book.list_height(2) == []
    assert book.remembers(3)
    assert book.find(3, make_vote(3).signature) is not None


def test_who_borrows_a_signature_signed_nothing() -> None:
    stage = Stage(Agreement())
    world = stage.trace.world
    vote = stage.vote(0, PREVOTE, 1, 0, None)
    stage.sign(0, vote)
    assert world.is_genuine(world.statements.read(vote))
    assert world.is_genuine(Statement(msgspec.structs.replace(vote)))
    for borrowed in (
        msgspec.structs.replace(vote, round=1),
        msgspec.structs.replace(vote, block_hash=b"b" * 32),
        msgspec.structs.replace(vote, validator=stage.key(1)),
    ):
        assert not world.is_genuine(world.statements.read(borrowed))
