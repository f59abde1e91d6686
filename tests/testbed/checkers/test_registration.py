"""The checker of registration: what it objects to, and in which words."""

from __future__ import annotations

from typing import Any

from testbed.checkers import Registration
from testbed.history import Event
from tests.testbed.forging import (
    assert_violated,
    drop,
    forge,
    insert_after,
    is_block,
    judge,
    record_truth,
)


def test_active_without_approval() -> None:
    events = drop(lambda event: event.kind == "approval" and event.data["target"] == "validator-2")
    assert_violated(Registration(), events, "validator-2 is active on the mesh and the sovereign has not approved it")


def test_forgery_accepted() -> None:
    def change(event: Event, data: dict[str, Any]) -> bool:
        data["status"] = 200
        return event.kind == "refusal" and "forged" in event.data["what"]

    assert_violated(Registration(), forge(change), "answered an approval with a forged signature with 200 ≠ 401")


def test_never_pending() -> None:
    def is_pending(event: Event) -> bool:
        return event.kind == "mesh_nodes" and any(row["status"] == "pending" for row in event.data["nodes"][:3])

    assert_violated(Registration(), drop(is_pending), "validator-1 is active on the mesh and was never pending")


def test_block_before_approval() -> None:
    block = next(event for event in record_truth() if is_block(event, "validator-1", 1))
    events = insert_after(lambda event: event.kind == "mesh_nodes", "block", "validator-1", **block.data)
    assert_violated(Registration(), events, "validator-1 at height 1: it has a block")


def test_outsider_is_let_in_as_a_peer() -> None:
    what = "the peer link of a node that is not approved"
    events = insert_after(
        lambda event: event.kind == "genesis",
        "refusal",
        "validator-2",
        what=what,
        status="admitted",
        wanted=["unknown_peer"],
    )
    assert_violated(Registration(), events, f"validator-2 answered {what} with admitted ≠ unknown_peer")


def test_says_what_the_backend_cannot_show() -> None:
    verdict = judge(Registration(), record_truth())
    assert "not shown: the peer link of a node that is not approved (simulation has no listeners)" in verdict.line
