"""The surface as a whole: routing, answers that are JSON, and the rules under any sequence of calls."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tana.client.registration import build_registration
from tana.mesh.memory import MemoryStore
from tana.mesh.registry import MeshRules
from tana.mesh.service import ROUTES, MeshService
from tests.mesh.helpers import START_MS, World, make_key, make_registration

ALLOWED_STEPS = {("pending", "active"), ("active", "offline"), ("offline", "active")} | {
    (status, "denied") for status in ("pending", "active", "offline")
}


def test_health(world: World) -> None:
    assert world.call("GET", "/health") == (200, {"status": "ok", "service": "mesh"})


@pytest.mark.parametrize("path", ["", "/", "/nodes/", "/nodes/a/b", "/approve", "/register/x", "/nothing", "/\ud800"])
def test_invalid_path(world: World, path: str) -> None:
    status, answer = world.call("GET", path)
    assert status == 404
    assert json.dumps(answer).isascii()


def test_invalid_method(world: World) -> None:
    status, answer = world.call("DELETE", "/nodes/a")
    assert (status, answer["code"]) == (405, "method_not_allowed")


@pytest.mark.parametrize("node_id", ["nobody", "%2e%2e%2f", "%00", "x" * 10_000, "\ud800", "'; DROP TABLE nodes"])
def test_invalid_unknown_id(world: World, node_id: str) -> None:
    status, answer = world.call("GET", f"/nodes/{node_id}")
    assert (status, answer["code"]) == (404, "unknown_node")
    assert len(answer["error"]) < 500


def test_a_stand_in_for_signatures_can_be_given() -> None:
    """Simulations use a cheap keyed hash instead of Ed25519."""

    class StandIn:
        def __init__(self, name: str) -> None:
            self.public_key = make_key(name).public_key

        def sign(self, message: bytes) -> bytes:
            return hashlib.blake2b(message, key=self.public_key).digest()

    def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
        return hashlib.blake2b(message, key=public_key).digest() == signature

    service = MeshService(MemoryStore(), make_key("s").public_text, verifier=verify)
    body = build_registration(StandIn("node"), "node", "node.local", None, [])
    assert service.handle("POST", "/register", {}, body, 0)[0] == 201
    forged = build_registration(StandIn("b"), "b", "b.local", None, []) | {"signature": body["signature"]}
    assert service.handle("POST", "/register", {}, forged, 0)[0] == 401


BODIES: st.SearchStrategy[Any] = st.sampled_from(
    [None, [], {}, "x", 1, {"signature": 1}, {"\ud800": 1}, make_registration("n0")]
)


@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    path=st.sampled_from([route.path for route in ROUTES]),
    node_id=st.text(max_size=8),
    body=BODIES,
)
def test_every_call_is_answered_with_json(method: str, path: str, node_id: str, body: Any) -> None:
    status, answer = World().call(method, path.replace("{id}", node_id), body)
    assert status < 500
    assert json.dumps(answer).isascii()
    if status >= 400:
        assert answer["error"]
        assert answer["code"]


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["register", "steal", "approve", "deny", "beat", "unapproved", "wait", "restart"]),
        st.sampled_from(["n0", "n1", "n2"]),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(ACTIONS)
def test_rules_hold_under_any_sequence_of_calls(actions: list[tuple[str, str]]) -> None:
    world = World(rules=MeshRules(offline_after_ms=1000))
    world.service.check_liveness(world.now_ms)
    keys: dict[str, str] = {}
    for action, name in actions:
        if action == "steal":
            assert world.call("POST", "/register", make_registration(name, make_key("thief")))[0] in (201, 409)
        elif action == "unapproved":
            assert world.approve(name, make_key(name))[0] == 403
        elif action == "wait":
            world.now_ms += 600
            world.service.check_liveness(world.now_ms)
        elif action == "restart":
            world.restart()
        else:
            getattr(world, action)(name)
        for node in world.call("GET", "/nodes", status="all")[1]["nodes"]:
            # An id keeps its first key for ever.
            assert keys.setdefault(node["id"], node["public_key"]) == node["public_key"]
            assert (node["approved_by"] is None) or node["status"] != "pending"
    assert len(set(keys.values())) == len(keys)
    steps = {(told["from"], told["to"]) for told in world.list_told("status")}
    assert steps <= ALLOWED_STEPS
    assert [event.id for event in world.events] == list(range(1, len(world.events) + 1))
    assert world.now_ms >= START_MS
