"""The checker of topology: what it objects to, and in which words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from testbed.checkers import Topology
from testbed.history import Event
from tests.testbed.forging import (
    OTHER_HASH,
    assert_violated,
    record_truth,
)


def change_topology(edit: Callable[[list[dict[str, Any]]], object]) -> list[Event]:
    events = list(record_truth())
    index = max(index for index, event in enumerate(events) if event.kind == "topology")
    event = events[index]
    nodes = [{**row, "services": list(row["services"])} for row in event.data["nodes"]]
    edit(nodes)
    events[index] = Event(event.sequence, event.at_ms, event.kind, event.node, {"nodes": nodes})
    return events


def test_lacks_a_validator() -> None:
    events = change_topology(lambda nodes: nodes.pop())
    assert_violated(Topology(), events, "validator-3 is not in the mesh's topology", "validator-1, validator-2")


def test_lacks_a_service() -> None:
    events = change_topology(lambda nodes: nodes[0]["services"].remove("t4"))
    assert_violated(Topology(), events, "validator-1", "without its services t4")


def test_has_a_stranger() -> None:
    stranger = {"id": "outsider", "public_key": "ed25519_" + OTHER_HASH, "services": []}
    events = change_topology(lambda nodes: nodes.append(stranger))
    assert_violated(Topology(), events, "outsider")


def test_has_another_key() -> None:
    def edit(nodes: list[dict[str, Any]]) -> None:
        nodes[1]["public_key"] = "ed25519_" + OTHER_HASH

    assert_violated(Topology(), change_topology(edit), "validator-2", "abababab…")
