"""The evidence pool: one for each validator, verified, bounded, and empty of what no block may hold."""

from __future__ import annotations

import pytest

from tana.ledger.evidence_pool import MAX_HELD, EvidencePool
from tana.ledger.ledger import Ledger
from tana.types.errors import InvalidInput
from tests.ledger.chain import ALICE, PRODUCER, VALIDATORS, CountingVerifier, accuse, build_and_commit, make_genesis
from tests.ledger.test_offences import GENESIS, guilt, ledger_at


def test_evidence_waits_until_it_is_committed() -> None:
    ledger = ledger_at(3)
    pool = EvidencePool(ledger)
    assert pool.add(guilt(2))
    ledger.commit(ledger.build_block(PRODUCER, ledger.time_ms + 1, (), evidence=pool.list_all()))
    pool.on_commit()
    assert len(pool) == 0


def test_evidence_waits_until_it_expires() -> None:
    ledger = ledger_at(3)
    pool = EvidencePool(ledger)
    pool.add(guilt(2))
    while ledger.height < 7:
        assert pool.accused == (VALIDATORS[1].public_key,)
        build_and_commit(ledger)
        pool.on_commit()
    assert len(pool) == 0


def test_one_for_each_validator() -> None:
    pool = EvidencePool(ledger_at(3))
    assert pool.add(guilt(2))
    assert not pool.add(guilt(3))
    assert pool.list_all() == [guilt(2)]


def test_a_flood_against_one_validator_costs_two_checks() -> None:
    verifier = CountingVerifier()
    pool = EvidencePool(Ledger.from_genesis(GENESIS, verifier))
    for round in range(100):
        pool.add(accuse(VALIDATORS[1], 1, round=round))
    assert (len(pool), verifier.calls) == (1, 2)


@pytest.mark.parametrize("evidence", [guilt(1, ALICE), guilt(99), guilt(1, chain_id=b"x" * 32)])
def test_invalid_evidence_is_not_kept(evidence: object) -> None:
    pool = EvidencePool(ledger_at(3))
    with pytest.raises(InvalidInput):
        pool.add(evidence)  # type: ignore[arg-type]
    assert len(pool) == 0


def test_what_a_peer_lacks() -> None:
    pool = EvidencePool(ledger_at(3))
    pool.add(guilt(2))
    assert pool.list_lacking((), 4) == [guilt(2)]
    assert pool.list_lacking((VALIDATORS[1].public_key,), 4) == []
    assert pool.list_lacking((), 1) == [], "a peer that far behind could not check it"


def test_what_is_held_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_HELD == 64, "as many as an announcement names"
    monkeypatch.setattr("tana.ledger.evidence_pool.MAX_HELD", 2)
    ledger = Ledger.from_genesis(make_genesis())
    pool = EvidencePool(ledger)
    assert [pool.add(accuse(key, 1)) for key in VALIDATORS] == [True, True, False]
    assert len(pool) == 2
