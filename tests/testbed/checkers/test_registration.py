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
