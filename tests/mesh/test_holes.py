"""The holes of the first mesh (wire formats, "Holes"), each attacked."""

from __future__ import annotations

from typing import Any

import pytest

from tana.client.registration import (
    build_approval,
    build_denial,
    build_heartbeat,
    build_registration,
    build_service,
    build_signed_genesis,
    build_sovereign_addition,
)
from tana.mesh.registry import MeshRules
from tests.mesh.helpers import (
    SOVEREIGN,
    World,
    make_genesis,
    make_key,
    make_registration,
    make_unsigned_body,
    sign_body_again,
)

NODE = "validator-0"
ATTACKER = make_key("attacker")
FORGERIES = [
    "",
    "valid",
    "ed25519_sig_" + "00" * 64,
    "ed25519_" + "ff" * 64,
    "ed25519_sig_" + "00" * 63,
    ATTACKER.sign_text("anything"),
]


# Hole: any signature was accepted at register, approve and heartbeat.


@pytest.mark.parametrize("signature", FORGERIES)
@pytest.mark.parametrize("field", ["signature", "bodySignature"])
def test_invalid_forged_registration(world: World, field: str, signature: str) -> None:
    status, answer = world.call("POST", "/register", make_registration() | {field: signature})
    assert status == 401
    assert answer["code"] == "bad_signature"
    assert world.call("GET", "/nodes", status="all")[1] == {"nodes": []}


@pytest.mark.parametrize("signature", FORGERIES)
@pytest.mark.parametrize("call", ["approve", "deny"])
def test_invalid_forged_decision(world: World, call: str, signature: str) -> None:
    world.register()
    body = {"approverPublicKey": SOVEREIGN.public_text, "signature": signature}
    assert world.call("POST", f"/{call}/{NODE}", body)[0] == 401
    assert world.get_node()["status"] == "pending"


@pytest.mark.parametrize("signature", FORGERIES)
@pytest.mark.parametrize("field", ["signature", "bodySignature"])
def test_invalid_forged_heartbeat(world: World, field: str, signature: str) -> None:
    world.admit()
    body = build_heartbeat(make_key(NODE), NODE, world.now_ms) | {field: signature}
    assert world.call("POST", "/heartbeat", body)[0] == 401
    assert world.get_node()["last_heartbeat"] is None


def test_invalid_signature_of_another_text(world: World) -> None:
    world.admit()
    world.register("validator-1")
    denial = build_denial(SOVEREIGN, "validator-1")
    other = build_approval(SOVEREIGN, NODE)
    for body in (denial, other):
        assert world.call("POST", "/approve/validator-1", body)[0] == 401
    stranger = build_heartbeat(make_key("validator-1"), NODE, world.now_ms)
    assert world.call("POST", "/heartbeat", stranger)[0] == 401


# Hole: anyone could add a sovereign key.


def test_invalid_sovereign_added_by_itself(world: World) -> None:
    body = build_sovereign_addition(ATTACKER, ATTACKER.public_text)
    assert world.call("POST", "/sovereign/add", body)[0] == 403


@pytest.mark.parametrize("signature", FORGERIES)
def test_invalid_sovereign_added_with_a_forged_signature(world: World, signature: str) -> None:
    body = {
        "publicKey": ATTACKER.public_text,
        "approverPublicKey": SOVEREIGN.public_text,
        "signature": signature,
    }
    assert world.call("POST", "/sovereign/add", body)[0] == 401
    world.register()
    assert world.approve(sovereign=ATTACKER)[0] == 403


def test_invalid_sovereign_added_without_approver(world: World) -> None:
    status, answer = world.call("POST", "/sovereign/add", {"publicKey": ATTACKER.public_text})
    assert (status, answer["code"]) == (400, "missing_field")


def test_invalid_sovereign_added_with_an_approval_for_another_key(world: World) -> None:
    body = build_sovereign_addition(SOVEREIGN, make_key("second").public_text)
    assert world.call("POST", "/sovereign/add", body | {"publicKey": ATTACKER.public_text})[0] == 401


# Hole: an unsigned POST /validators/{id}/heartbeat created and activated a node.


@pytest.mark.parametrize("path", [f"/validators/{NODE}/heartbeat", "/validators/new/heartbeat", "/validators/active"])
def test_invalid_unsigned_heartbeat_door(world: World, path: str) -> None:
    world.register()
    assert world.call("POST", path, {"wsUrl": "ws://evil:9000", "publicKey": ATTACKER.public_text})[0] in (404, 405)
    assert world.get_node()["status"] == "pending"
    assert len(world.call("GET", "/nodes", status="all")[1]["nodes"]) == 1


# Hole: an offline node could never come back.


def test_offline_node_comes_back_with_its_next_heartbeat(world: World) -> None:
    world.admit()
    world.service.check_liveness(world.now_ms)
    world.now_ms += MeshRules().offline_after_ms
    world.service.check_liveness(world.now_ms)
    assert world.get_node()["status"] == "offline"
    assert world.beat()[0] == 200
    assert world.get_node()["status"] == "active"
    assert world.list_told("status")[-1] == {"nodeId": NODE, "from": "offline", "to": "active"}


# Hole: an approval could be replayed on a re-registered id with another key; a heartbeat within its window.


@pytest.mark.parametrize("end", ["pending", "active", "offline", "denied"])
def test_invalid_used_id_with_another_key(world: World, end: str) -> None:
    world.register()
    if end in ("active", "offline"):
        world.approve()
    if end == "offline":
        world.service.check_liveness(world.now_ms)
        world.service.check_liveness(world.now_ms + MeshRules().offline_after_ms)
    if end == "denied":
        world.deny()
    before = world.get_node()
    assert before["status"] == end
    for _ in range(2):
        assert world.call("POST", "/register", make_registration(NODE, ATTACKER))[0] == 409
        assert world.get_node() == before
        world.restart()


def test_invalid_replayed_approval_of_a_denied_node(world: World) -> None:
    world.register()
    seen_on_the_wire = build_approval(SOVEREIGN, NODE)
    assert world.call("POST", f"/approve/{NODE}", seen_on_the_wire)[0] == 200
    world.deny()
    assert world.call("POST", f"/approve/{NODE}", seen_on_the_wire)[0] == 409
    assert world.get_node()["status"] == "denied"


def test_invalid_replayed_heartbeat(world: World) -> None:
    world.admit()
    body = build_heartbeat(make_key(NODE), NODE, world.now_ms)
    assert world.call("POST", "/heartbeat", body)[0] == 200
    for _ in range(2):
        status, answer = world.call("POST", "/heartbeat", body)
        assert (status, answer["code"]) == (400, "timestamp_not_rising")
        # Also over a restart of the mesh.
        world.restart()


def test_invalid_older_heartbeat(world: World) -> None:
    world.admit()
    older = build_heartbeat(make_key(NODE), NODE, world.now_ms)
    assert world.beat()[0] == 200
    assert world.call("POST", "/heartbeat", older)[0] == 400


def test_invalid_replayed_heartbeat_does_not_wake_an_offline_node(world: World) -> None:
    world = World(rules=MeshRules(offline_after_ms=1000))
    world.admit()
    world.service.check_liveness(world.now_ms)
    body = build_heartbeat(make_key(NODE), NODE, world.now_ms)
    world.call("POST", "/heartbeat", body)
    world.now_ms += 1000
    world.service.check_liveness(world.now_ms)
    assert world.call("POST", "/heartbeat", body)[0] == 400
    assert world.get_node()["status"] == "offline"


# Hole: the signed texts left out services, keys and health.


def change_services(body: dict[str, Any]) -> dict[str, Any]:
    return body | {"services": [build_service("consensus", 9000, ATTACKER.public_text)]}


def change_ip(body: dict[str, Any]) -> dict[str, Any]:
    return body | {"tailscaleIP": "100.64.6.6"}


@pytest.mark.parametrize("change", [change_services, change_ip])
def test_invalid_registration_changed_on_the_way(world: World, change: Any) -> None:
    status, answer = world.call("POST", "/register", change(make_registration()))
    assert (status, answer["field"]) == (401, "bodySignature")


def test_invalid_registration_with_an_added_field(world: World) -> None:
    body = make_registration()
    del body["tailscaleIP"]
    assert world.call("POST", "/register", change_ip(sign_body_again(body, ATTACKER)))[0] == 401


def test_registration_stripped_of_its_body_signature_is_marked(world: World) -> None:
    world.call("POST", "/register", change_services(make_unsigned_body(make_registration())))
    assert world.get_node()["registration_body_signed"] is False


@pytest.mark.parametrize(
    "change",
    [
        {"tailscaleIP": "100.64.6.6"},
        {"services": [{"type": "ledger", "healthy": False}]},
        {"consensus": {"height": 9, "state": "validating"}},
    ],
)
def test_invalid_heartbeat_changed_on_the_way(world: World, change: dict[str, Any]) -> None:
    world.admit()
    body = build_heartbeat(make_key(NODE), NODE, world.now_ms, "100.64.0.7", [{"type": "ledger", "healthy": True}])
    assert world.call("POST", "/heartbeat", body | change)[0] == 401


def test_heartbeat_without_body_signature_changes_only_what_is_displayed(world: World) -> None:
    world.admit()
    topology = world.call("GET", "/topology")
    body = build_heartbeat(
        make_key(NODE),
        NODE,
        world.now_ms,
        "100.64.6.6",
        [{"type": "ledger", "healthy": True}],
        consensus={"height": 9, "state": "validating"},
    )
    assert world.call("POST", "/heartbeat", make_unsigned_body(body))[0] == 200
    assert world.call("GET", "/topology") == topology
    assert world.call("GET", "/validators/active")[1]["validators"][0]["wsUrl"] == "ws://100.64.0.7:9000"
    node = world.get_node()
    assert node["heartbeat_signed"] is False
    assert (node["tailscale_ip"], node["reported_ip"]) == ("100.64.0.7", "100.64.6.6")
    assert node["consensus"]["height"] == 9


def test_invalid_heartbeat_with_new_service_keys(world: World) -> None:
    world.admit()
    key = make_key(NODE)
    body = build_heartbeat(key, NODE, world.now_ms)
    body["services"] = [{"type": "ledger", "healthy": True, "publicKey": ATTACKER.public_text}]
    status, answer = world.call("POST", "/heartbeat", sign_body_again(body, key))
    assert (status, answer["code"], answer["field"]) == (400, "unknown_field", "services[0].publicKey")


def test_heartbeat_adds_no_service(world: World) -> None:
    world.admit()
    world.beat(services=[{"type": "identity", "healthy": True}])
    assert [service["service_type"] for service in world.get_node()["services"]] == ["ledger", "t4", "consensus"]


# Hole: without ?status= only one status was listed (see also test_registry).


def test_all_nodes_can_be_listed(world: World) -> None:
    world.register("waiting")
    world.admit("admitted")
    world.register("refused")
    world.deny("refused")
    nodes = world.call("GET", "/nodes", status="all")[1]["nodes"]
    assert {node["id"]: node["status"] for node in nodes} == {
        "waiting": "pending",
        "admitted": "active",
        "refused": "denied",
    }


# Beyond the list.


def test_invalid_genesis_of_a_later_registered_node(world: World) -> None:
    world.admit()
    body = build_signed_genesis(make_key(NODE), make_genesis().genesis).to_json()
    assert world.call("PUT", "/genesis", body)[0] == 401


def test_invalid_public_key_of_small_order(world: World) -> None:
    # With such a key, signatures verify that nobody made (RFC 8032, 5.1.7 and libsodium's list).
    body = build_registration(ATTACKER, NODE, "a.ts.net", None, [])
    for key in ("01" + "00" * 31, "00" * 32, "ec" + "ff" * 30 + "7f"):
        weak = make_unsigned_body(body) | {"publicKey": f"ed25519_{key}", "signature": "01" + "00" * 63}
        assert world.call("POST", "/register", weak)[0] == 401
