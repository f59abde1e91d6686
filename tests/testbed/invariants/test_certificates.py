from __future__ import annotations

import msgspec
import pytest

from tana.types.block import Block, Certificate, CommitSignature
from tana.types.messages import PRECOMMIT
from testbed.invariants.certificates import Certificates
from tests.testbed.tracing import Stage

NODES = (0, 1, 2, 3)


def precommitted(**header: object) -> tuple[Stage, Block]:
    """Everybody has precommitted a block of height 1 in round 0."""
    stage = Stage(Certificates())
    block = stage.block(1, **header)  # type: ignore[arg-type]
    stage.poll(PRECOMMIT, 1, 0, block, NODES)
    return stage, block


def test_quorums_are_accepted() -> None:
    stage = Stage(Certificates())
    stage.decide(stage.block(1))
    stage.decide(stage.block(2), nodes=(0, 1, 2))
    stage.assert_proven("7 certificates")


def test_different_certificates_of_one_block_are_accepted() -> None:
    stage, block = precommitted()
    stage.commit(0, block, stage.certificate(block, 0, (0, 1, 2)))
    stage.commit(1, block, stage.certificate(block, 0, (1, 2, 3)))
    stage.assert_proven()


@pytest.mark.parametrize(
    ("signers", "words"),
    [
        ((0, 1), "power 2 of 4 ≠ a quorum, which needs 3"),
        ((0, 1, 1), "signer validator-2 is there twice"),
        ((0, 1, 7), "is not in the set"),
    ],
)
def test_too_little_power_is_rejected(signers: tuple[int, ...], words: str) -> None:
    stage, block = precommitted()
    stage.commit(0, block, stage.certificate(block, 0, signers))
    stage.assert_violated("validator-1 at height 1", words)


def test_precommits_of_another_round_are_rejected() -> None:
    stage, block = precommitted()
    certificate = stage.certificate(block, 0, (0, 1, 2))
    stage.commit(0, block, msgspec.structs.replace(certificate, round=1))
    stage.assert_violated("validator-1 did not sign this precommit")


def test_a_certificate_of_another_height_or_block_is_rejected() -> None:
    for change in ({"height": 2}, {"block_hash": b"x" * 32}):
        stage, block = precommitted()
        certificate = msgspec.structs.replace(stage.certificate(block, 0, (0, 1, 2)), **change)
        stage.commit(0, block, certificate)
        stage.assert_violated("the certificate is")


def test_a_block_of_another_chain_is_rejected() -> None:
    stage, block = precommitted(chain_id=b"o" * 32)
    stage.commit(0, block, stage.certificate(block, 0, (0, 1, 2)))
    stage.assert_violated("is of chain 6f6f6f6f")


def test_a_signature_that_a_traitor_did_not_make_is_rejected() -> None:
    stage = Stage(Certificates(), traitors=[3])
    block = stage.block(1)
    stage.poll(PRECOMMIT, 1, 0, block, (0, 1))
    forged = [*stage.certificate(block, 0, (0, 1)).signatures, CommitSignature(stage.key(3), bytes(64))]
    stage.commit(0, block, Certificate(1, 0, block.hash, tuple(forged)))
    stage.assert_violated("validator-4 did not sign this precommit")
