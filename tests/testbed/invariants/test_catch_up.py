from __future__ import annotations

from testbed.invariants.catch_up import BOUND_MS, CatchUp
from testbed.verdict import Outcome
from tests.testbed.tracing import Stage

OTHERS, NODES = (0, 1, 2), (0, 1, 2, 3)


def behind() -> tuple[Stage, list[object]]:
    """Validator 3 was away for five heights, is back, and must go on."""
    stage = Stage(CatchUp())
    stage.end(3)
    blocks = []
    for height in range(1, 6):
        blocks.append(stage.block(height))
        stage.decide(blocks[-1], nodes=OTHERS)
    stage.begin(3, height=0)
    stage.expect("begin", "must", NODES)
    return stage, blocks  # type: ignore[return-value]


def sync(stage: Stage, blocks: list[object]) -> None:
    for block in blocks:
        stage.commit(3, block, stage.certificate(block, 0, OTHERS))  # type: ignore[arg-type]


def test_a_node_that_catches_up_is_accepted() -> None:
    stage, blocks = behind()
    sync(stage, blocks)
    stage.assert_proven("1 times a node caught up, 5 heights")


def test_a_node_that_stays_behind_is_rejected() -> None:
    stage, blocks = behind()
    sync(stage, blocks[:3])
    stage.now_ms += BOUND_MS + 1_000
    stage.expect("end", "must", NODES)
    stage.assert_violated("validator-4 is at height 3", "≠ height 5")


def test_a_node_that_catches_up_too_late_is_rejected() -> None:
    stage, blocks = behind()
    stage.now_ms += BOUND_MS + 1_000
    sync(stage, blocks)
    stage.assert_violated("validator-4 is at height 4")


def test_a_node_that_is_gone_again_need_not_catch_up() -> None:
    stage, _ = behind()
    stage.end(3)
    stage.now_ms += BOUND_MS + 1_000
    stage.expect("end", "must", NODES)
    assert stage.finish().outcome is Outcome.NOT_ASKED
