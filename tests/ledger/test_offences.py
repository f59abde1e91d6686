"""Evidence in blocks: what counts, what is refused and why, and what becomes of the convicted."""

from __future__ import annotations

import msgspec
import pytest

from tana.crypto.keys import KeyPair
from tana.ledger.accounts import Punishment
from tana.ledger.ledger import InvalidBlock, Ledger
from tana.ledger.state import State
from tana.types.block import Block
from tana.types.errors import InvalidInput
from tana.types.evidence import MAX_EVIDENCE_PER_BLOCK, Evidence
from tana.types.genesis import GenesisValidator
from tana.types.vote import PRECOMMIT
from tests.ledger.chain import (
    ALICE,
    BOB,
    PRODUCER,
    VALIDATORS,
    CountingVerifier,
    accuse,
    build_and_commit,
    make_genesis,
    remake,
    transfer,
)

GENESIS = make_genesis(evidenceMaxAgeHeights=5)
CHAIN_ID = GENESIS.compute_chain_id()
GUILTY = VALIDATORS[1]


def guilt(height: int, key: KeyPair = GUILTY, kind: int = PRECOMMIT, chain_id: bytes = CHAIN_ID) -> Evidence:
    return accuse(key, height, kind, chain_id=chain_id)


def ledger_at(height: int) -> Ledger:
    ledger = Ledger.from_genesis(GENESIS)
    while ledger.height < height:
        build_and_commit(ledger)
    return ledger


def build(ledger: Ledger, *evidence: Evidence, producer: bytes = PRODUCER) -> Block:
    return ledger.build_block(producer, ledger.time_ms + 1000, (), evidence=evidence)


def test_the_convicted_loses_its_power_two_heights_on() -> None:
    ledger, follower = ledger_at(3), ledger_at(3)
    before = ledger.validators.hash
    block = build(ledger, guilt(2))
    assert block.evidence == (guilt(2),)
    assert (block.header.validators_hash, block.header.next_validators_hash) == (before, before)
    follower.execute(block)
    for each in (ledger, follower):
        each.commit(block)
        assert each.has_pending_change
        assert each.validators.get_power(GUILTY.public_key) == 1
    header = build_and_commit(ledger).block.header
    assert header.validators_hash == before
    assert header.next_validators_hash == ledger.validators.hash != before
    assert ledger.validators.get_power(GUILTY.public_key) == 0
    assert not ledger.has_pending_change
    assert State(ledger.tree).get_punishment(GUILTY.public_key) == Punishment("precommit", 2, 4)
    assert ledger.validators.total_power == 2


def test_members_of_past_heights_stay_known() -> None:
    ledger = ledger_at(3)
    ledger.commit(build(ledger, guilt(2)))
    build_and_commit(ledger)
    sizes = [len(members.validators) for height in (1, 5, 6) if (members := ledger.find_members(height))]
    assert sizes == [3, 3, 2]


def test_evidence_and_transactions_share_a_block() -> None:
    ledger, follower = ledger_at(1), ledger_at(1)
    block = ledger.build_block(PRODUCER, ledger.time_ms + 1, [transfer(ALICE, BOB, 0)], evidence=[guilt(1)])
    assert (len(block.transactions), len(block.evidence)) == (1, 1)
    assert follower.execute(block).state_root == block.header.state_root


def test_undo_rows_take_everything_back() -> None:
    ledger = ledger_at(3)
    before = ledger.tree
    execution = ledger.commit(build(ledger, guilt(2)))
    assert before.updated(dict(execution.changes)).updated(dict(execution.undo)).root == before.root


def test_evidence_of_the_height_itself_counts() -> None:
    assert build(ledger_at(3), guilt(4)).evidence == (guilt(4),)


def test_evidence_at_the_edge_of_its_age_counts() -> None:
    assert build(ledger_at(7), guilt(3)).evidence == (guilt(3),)


def test_evidence_against_a_validator_that_left_still_counts() -> None:
    ledger = ledger_at(3)
    for key in (GUILTY, VALIDATORS[2]):
        ledger.commit(build(ledger, guilt(2, key)))
        build_and_commit(ledger)
        build_and_commit(ledger)
    assert ledger.validators.total_power == 1


REFUSED = {
    "expired": (guilt(1), "evidence_expired"),
    "ahead": (guilt(9), "evidence_ahead"),
    "unknown_validator": (guilt(6, ALICE), "unknown_validator"),
    "foreign_chain": (guilt(6, chain_id=b"x" * 32), "bad_evidence_signature"),
    "made_up": (
        Evidence(*(msgspec.structs.replace(vote, signature=b"z" * 64) for vote in (guilt(6).first, guilt(6).second))),
        "bad_evidence_signature",
    ),
    "signed_by_another": (
        Evidence(
            *(
                msgspec.structs.replace(vote, validator=VALIDATORS[2].public_key)
                for vote in (guilt(6).first, guilt(6).second)
            )
        ),
        "bad_evidence_signature",
    ),
    "nothing_in_it": (Evidence(guilt(6).first, guilt(6).first), "malformed_evidence"),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_invalid_evidence(reason: str) -> None:
    evidence, code = REFUSED[reason]
    ledger = ledger_at(7)
    with pytest.raises(InvalidInput) as error:
        ledger.check_evidence(evidence)
    assert error.value.code == code
    plain = build(ledger, evidence)
    assert plain.evidence == ()
    with pytest.raises(InvalidBlock) as refusal:
        ledger.execute(remake(plain, evidence=[evidence]))
    assert refusal.value.code == code


def test_invalid_second_conviction_of_a_validator() -> None:
    ledger = ledger_at(3)
    ledger.commit(build(ledger, guilt(2)))
    with pytest.raises(InvalidInput, match="convicted before"):
        ledger.check_evidence(guilt(3))
    with pytest.raises(InvalidBlock, match="convicted before"):
        ledger.execute(remake(build(ledger), evidence=[guilt(2)]))


@pytest.mark.parametrize("evidence", [[guilt(2), guilt(3)], [guilt(2), guilt(2)]])
def test_invalid_twice_in_one_block(evidence: list[Evidence]) -> None:
    ledger = ledger_at(3)
    with pytest.raises(InvalidBlock, match="not in the order"):
        ledger.execute(remake(build(ledger), evidence=evidence))


def test_invalid_order() -> None:
    ledger = ledger_at(3)
    block = build(ledger, guilt(2), guilt(2, VALIDATORS[2]))
    assert len(block.evidence) == 2
    with pytest.raises(InvalidBlock, match="not in the order"):
        ledger.execute(remake(block, evidence=block.evidence[::-1]))


def test_invalid_evidence_root() -> None:
    ledger = ledger_at(3)
    block = build(ledger, guilt(2))
    with pytest.raises(InvalidBlock, match="evidence root"):
        ledger.execute(Block.create(block.header, block.transactions))


def test_invalid_block_that_convicts_and_leaves_the_power() -> None:
    ledger = ledger_at(3)
    block = build(ledger, guilt(2))
    with pytest.raises(InvalidBlock, match="state root"):
        ledger.execute(remake(block, state_root=build(ledger).header.state_root))


def test_the_last_member_keeps_its_power() -> None:
    ledger = ledger_at(3)
    ledger.commit(build(ledger, *(guilt(2, key) for key in VALIDATORS)))
    build_and_commit(ledger)
    assert len(ledger.validators) == 1
    assert all(State(ledger.tree).get_punishment(key.public_key) for key in VALIDATORS)


def test_too_much_evidence_fills_no_block() -> None:
    """Tendermint 0.28.1 made blocks that its own rules refused; here the rest waits for the next block."""
    keys = [KeyPair.from_seed(bytes([100 + number]) * 32) for number in range(MAX_EVIDENCE_PER_BLOCK + 3)]
    rows = [GenesisValidator(f"v-{number}", key.public_text, 1) for number, key in enumerate(keys)]
    honest = GenesisValidator("honest", VALIDATORS[0].public_text, 100)
    genesis = msgspec.structs.replace(GENESIS, validators=(honest, *rows))
    ledger, follower = Ledger.from_genesis(genesis), Ledger.from_genesis(genesis)
    waiting = [guilt(1, key, chain_id=genesis.compute_chain_id()) for key in keys]
    counts = []
    while ledger.height < 3:
        block = build(ledger, *waiting)
        counts.append(len(block.evidence))
        follower.execute(block)
        follower.commit(block)
        ledger.commit(block)
    assert counts == [MAX_EVIDENCE_PER_BLOCK, 3, 0]


def test_evidence_never_makes_a_block_too_large() -> None:
    genesis = make_genesis(maxBlockBytes=1024)
    ledger = Ledger.from_genesis(genesis)
    block = build(ledger, *(guilt(1, key, chain_id=genesis.compute_chain_id()) for key in VALIDATORS))
    assert len(block.evidence) == 1
    assert len(block.data) <= 1024


def test_signatures_are_checked_once() -> None:
    verifier = CountingVerifier()
    ledger = Ledger.from_genesis(GENESIS, verifier)
    ledger.check_evidence(guilt(1))
    block = build(ledger, guilt(1))
    ledger.execute(remake(block, time_ms=block.header.time_ms + 1))
    assert verifier.calls == 2


def test_a_certificate_stands_for_the_signatures() -> None:
    verifier = CountingVerifier()
    ledger = Ledger.from_genesis(GENESIS, verifier)
    ledger.execute_certified(build(ledger_at(0), guilt(1)))
    assert verifier.calls == 0
