"""The checker of heartbeats: what it objects to, and in which words."""

from __future__ import annotations

from testbed.checkers import Heartbeats
from testbed.history import Event
from tests.testbed.forging import (
    assert_violated,
    drop,
    record_truth,
)


def forget_heartbeats(event: Event) -> Event:
    if event.kind != "mesh_nodes":
        return event
    rows = [{**row, "last_heartbeat": None} if row["id"] == "validator-2" else row for row in event.data["nodes"]]
    return Event(event.sequence, event.at_ms, event.kind, event.node, {"nodes": rows})


def test_never_sent() -> None:
    events = [forget_heartbeats(event) for event in record_truth()]
    assert_violated(Heartbeats(), events, "validator-2 has sent no heartbeat since approval", "mesh says")


def test_stopped_and_nobody_noticed() -> None:
    def is_offline(event: Event) -> bool:
        return event.kind == "mesh_nodes" and any(row["status"] == "offline" for row in event.data["nodes"])

    assert_violated(Heartbeats(), drop(is_offline), "validator-2 stayed active")


def test_did_not_come_back() -> None:
    truth = record_truth()
    undone = next(event for event in truth if event.kind == "fault" and event.data["phase"] == "undone")
    before = [event for event in truth if event.sequence <= undone.sequence]
    offline = next(
        event
        for event in before
        if event.kind == "mesh_nodes" and any(row["status"] == "offline" for row in event.data["nodes"])
    )
    assert_violated(Heartbeats(), [*before, offline], "validator-2 is offline on the mesh in the end")
