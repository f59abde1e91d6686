from __future__ import annotations

from tana.crypto.keys import KeyPair
from tana.types.block import Block
from tana.types.evidence import Evidence
from tana.types.messages import PRECOMMIT, PREVOTE, Proposal, Vote, vote_sign_bytes
from testbed.invariants.accountability import Accountability
from testbed.verdict import Outcome
from tests.testbed.tracing import CHAIN_ID, Stage


def test_without_an_accusation_there_is_nothing_to_judge() -> None:
    stage = Stage(Accountability())
    stage.decide(stage.block(1))
    assert stage.finish().outcome is Outcome.NOT_ASKED


def fork(stage: Stage, first: tuple[int, ...], second: tuple[int, ...], second_round: int = 0) -> tuple[Block, Block]:
    """Validator 0 commits one block with the precommits of `first`, validator 1 another with those of `second`."""
    one, other = stage.block(1), stage.block(1, label=1)
    stage.commit(0, one, stage.certificate(one, 0, first))
    stage.commit(1, other, stage.certificate(other, second_round, second))
    return one, other


def test_a_fork_in_one_round_names_the_traitors() -> None:
    stage = Stage(Accountability(), traitors=[2, 3])
    fork(stage, (0, 2, 3), (1, 2, 3))
    stage.assert_proven("1 forks name validator-3, validator-4")


def test_a_fork_that_names_a_correct_node_is_rejected() -> None:
    stage = Stage(Accountability(), traitors=[3])
    fork(stage, (0, 2, 3), (1, 2, 3))
    stage.assert_violated("the fork at height 1 names validator-3 for double precommits in round 0 ≠ correct")


def test_a_fork_that_names_too_few_is_rejected() -> None:
    stage = Stage(Accountability(), traitors=[2, 3])
    fork(stage, (0, 1, 3), (2, 3))
    stage.assert_violated("names validator-4", "power 1 ≠ at least 2")


def test_a_fork_across_rounds_names_the_amnesiacs() -> None:
    stage = Stage(Accountability(), traitors=[2, 3])
    other = stage.block(1, label=1)
    for traitor in (2, 3):
        stage.see(1, stage.vote(traitor, PREVOTE, 1, 1, other))
    stage.sign(1, stage.vote(1, PREVOTE, 1, 1, other))
    fork(stage, (0, 2, 3), (1, 2, 3), second_round=1)
    stage.assert_proven("name validator-3, validator-4")


def test_a_fork_across_rounds_that_names_a_correct_node_is_rejected() -> None:
    stage = Stage(Accountability(), traitors=[3])
    other = stage.block(1, label=1)
    stage.sign(2, stage.vote(2, PRECOMMIT, 1, 0, stage.block(1)))
    for node in (1, 2):
        stage.sign(node, stage.vote(node, PREVOTE, 1, 1, other))
    stage.see(1, stage.vote(3, PREVOTE, 1, 1, other))
    fork(stage, (0, 2, 3), (1, 2, 3), second_round=1)
    stage.assert_violated("names validator-3 for amnesia between rounds 0 and 1 ≠ correct")


def convict(stage: Stage, height: int, *messages: Vote | Proposal, evidence: bool = True) -> Block:
    """Everybody commits a block that may hold evidence of the messages."""
    held = [Evidence.create(messages[0], messages[1])] if evidence else []
    plain = stage.block(height)
    block = Block.create(plain.header, (), held)
    stage.decide(block)
    return block


def sign_really(stage: Stage, node: int, *values: bytes | None) -> list[Vote | Proposal]:
    pair = KeyPair.from_seed(bytes([node]) * 32)
    texts = [vote_sign_bytes(CHAIN_ID, PREVOTE, 1, 0, value) for value in values]
    return [
        Vote(PREVOTE, 1, 0, value, pair.public_key, pair.sign(text)) for value, text in zip(values, texts, strict=True)
    ]


def test_evidence_against_a_traitor_is_accepted() -> None:
    stage = Stage(Accountability())
    convict(stage, 1, *sign_really(stage, 9, None, b"x" * 32))
    stage.trace.world.sets[1].powers[KeyPair.from_seed(bytes([9]) * 32).public_key] = 1
    assert stage.trace.violation is not None, "nobody of that key was a member"
    stage = Stage(Accountability())
    stage.trace.world.sets[1].powers[KeyPair.from_seed(bytes([9]) * 32).public_key] = 1
    convict(stage, 1, *sign_really(stage, 9, None, b"x" * 32))
    stage.assert_proven("1 pieces of evidence")


def test_evidence_against_a_correct_node_is_rejected() -> None:
    stage = Stage(Accountability())
    votes = [stage.vote(2, PREVOTE, 1, 0, None), stage.vote(2, PREVOTE, 1, 0, stage.block(1))]
    convict(stage, 1, *votes)
    stage.assert_violated("evidence of a double prevote at height 1 against validator-3 ≠ who is correct")


def test_made_up_evidence_is_rejected() -> None:
    stage = Stage(Accountability(), traitors=[3])
    votes = [stage.vote(3, PREVOTE, 1, 0, None), stage.vote(3, PREVOTE, 1, 0, stage.block(1))]
    convict(stage, 1, *votes)
    stage.assert_violated("against validator-4 ≠ who did not sign that")


def test_a_second_conviction_is_rejected() -> None:
    stage = Stage(Accountability())
    stage.trace.world.sets[1].powers[KeyPair.from_seed(bytes([9]) * 32).public_key] = 1
    votes = sign_really(stage, 9, None, b"x" * 32)
    convict(stage, 1, *votes)
    convict(stage, 2, *votes)
    stage.assert_violated("who was convicted at height 1 already")


def knowing(*, height: int) -> Stage:
    """All correct nodes hold two prevotes of validator 3 for height 1; blocks up to `height` say nothing of it."""
    stage = Stage(Accountability(), traitors=[3])
    for node in (0, 1, 2):
        stage.see(node, stage.vote(3, PREVOTE, 1, 0, None))
        stage.see(node, stage.vote(3, PREVOTE, 1, 0, stage.block(1, label=7)))
    for number in range(1, height + 1):
        stage.decide(stage.block(number), nodes=(0, 1, 2))
    return stage


def test_evidence_may_take_two_heights() -> None:
    assert knowing(height=2).trace.violation is None


def test_evidence_that_is_ignored_is_rejected() -> None:
    stage = knowing(height=6)
    stage.assert_violated("knows of a double vote by validator-4 since height 1", "does not hold the evidence")


def test_a_crash_forgets_what_was_known() -> None:
    stage = knowing(height=2)
    for node in (0, 1, 2):
        stage.end(node)
        stage.begin(node)
    for number in range(3, 7):
        stage.decide(stage.block(number), nodes=(0, 1, 2))
    assert stage.trace.violation is None
