"""The rules of the mesh, without sockets."""

from __future__ import annotations

from typing import Any

import pytest

from tana.client.registration import build_heartbeat, build_sovereign_addition
from tana.mesh.registry import MeshRules
from tests.mesh.helpers import (
    MINUTE_MS,
    SOVEREIGN,
    World,
    make_genesis,
    make_key,
    make_registration,
    make_unsigned_body,
    read_vectors,
    sign_body_again,
)

OFFLINE_AFTER_MS = MeshRules().offline_after_ms


@pytest.mark.parametrize("row", read_vectors("registrations"), ids=lambda row: str(row["nodeId"]))
def test_registrations_of_the_first_library_are_accepted(world: World, row: dict[str, str]) -> None:
    body = {name: row[name] for name in ("nodeId", "publicKey", "tailscaleHostname", "signature")}
    body["services"] = [  # type: ignore[assignment]
        {"type": "ledger", "port": 8080, "publicKey": row["publicKey"]},
        {"type": "consensus", "port": 9000, "publicKey": row["publicKey"]},
    ]
    status, answer = world.call("POST", "/register", body)
    assert status == 201
    assert (answer["success"], answer["nodeId"], answer["status"]) == (True, row["nodeId"], "pending")
    node = world.get_node(row["nodeId"])
    assert node["registration_signature"] == row["signature"]
    assert not node["registration_body_signed"]


def test_registration_is_pending_and_shown_as_sent(world: World) -> None:
    assert world.register()[0] == 201
    node = world.get_node()
    body = make_registration()
    assert node["status"] == "pending"
    assert node["registered_at"] == world.now_ms
    assert node["public_key"] == body["publicKey"]
    assert node["tailscale_ip"] == "100.64.0.7"
    assert node["registration_body_signed"] is True
    assert [service["public_key"] for service in node["services"]] == [item["publicKey"] for item in body["services"]]


def test_registration_takes_all_three_forms_of_a_signature(world: World) -> None:
    for name, prefix in (("a", "ed25519_sig_"), ("b", "ed25519_"), ("c", "")):
        body = make_unsigned_body(make_registration(name))
        body["signature"] = body["signature"].replace("ed25519_sig_", prefix)
        assert world.call("POST", "/register", body)[0] == 201


def test_invalid_id_taken(world: World) -> None:
    world.register()
    status, answer = world.call("POST", "/register", make_registration("validator-0", make_key("another")))
    assert (status, answer["code"], answer["field"]) == (409, "already_registered", "nodeId")


def test_invalid_key_taken(world: World) -> None:
    world.register()
    status, answer = world.call("POST", "/register", make_registration("validator-9", make_key("validator-0")))
    assert (status, answer["code"], answer["field"]) == (409, "already_registered", "publicKey")


def test_invalid_same_registration_again(world: World) -> None:
    world.register()
    assert world.register()[0] == 409


def test_invalid_too_many_pending_nodes() -> None:
    world = World(rules=MeshRules(max_pending_nodes=2))
    assert [world.register(f"n{number}")[0] for number in range(3)] == [201, 201, 429]
    world.approve("n0")
    assert world.register("n2")[0] == 201


def test_approval_makes_active(world: World) -> None:
    world.register()
    assert world.approve() == (200, {"success": True, "nodeId": "validator-0", "status": "active"})
    node = world.get_node()
    assert (node["approved_at"], node["approved_by"]) == (world.now_ms, SOVEREIGN.public_text)


def test_approval_again_changes_nothing(world: World) -> None:
    world.admit()
    before = world.get_node()
    told = len(world.events)
    world.now_ms += 5
    assert world.approve()[0] == 200
    assert world.get_node() == before
    assert len(world.events) == told


def test_approval_again_does_not_wake_an_offline_node(world: World) -> None:
    world.admit()
    world.service.check_liveness(world.now_ms)
    world.service.check_liveness(world.now_ms + OFFLINE_AFTER_MS)
    assert world.approve() == (200, {"success": True, "nodeId": "validator-0", "status": "offline"})


@pytest.mark.parametrize("call", ["approve", "deny"])
def test_invalid_decision_of_unknown_node(world: World, call: str) -> None:
    assert getattr(world, call)("nobody")[0] == 404


@pytest.mark.parametrize("call", ["approve", "deny"])
def test_invalid_decision_by_another_key(world: World, call: str) -> None:
    world.register()
    status, answer = getattr(world, call)("validator-0", make_key("validator-0"))
    assert (status, answer["code"]) == (403, "not_sovereign")
    assert world.get_node()["status"] == "pending"


def test_denial_is_final(world: World) -> None:
    world.register()
    assert world.deny() == (200, {"success": True, "nodeId": "validator-0", "status": "denied"})
    status, answer = world.approve()
    assert (status, answer["code"]) == (409, "denied")
    assert world.deny()[0] == 200
    assert world.register()[0] == 409
    assert world.get_node()["denied_by"] == SOVEREIGN.public_text


@pytest.mark.parametrize("silent", [False, True])
def test_denial_revokes_an_admitted_node(world: World, silent: bool) -> None:
    world.admit()
    if silent:
        world.service.check_liveness(world.now_ms)
        world.service.check_liveness(world.now_ms + OFFLINE_AFTER_MS)
    assert world.deny()[1]["status"] == "denied"
    assert world.beat()[0] == 403
    assert world.get_node()["status"] == "denied"


def test_heartbeat_is_shown(world: World) -> None:
    world.admit()
    consensus = {"height": 7, "blockHash": "ab" * 32, "stateRoot": "cd" * 32, "state": "validating"}
    services = [{"type": "ledger", "healthy": True, "lastCheck": 123}, {"type": "t4", "healthy": False}]
    status, answer = world.beat(services=services, consensus=consensus)
    assert (status, answer) == (200, {"success": True, "timestamp": world.now_ms})
    node = world.get_node()
    assert node["consensus"] == consensus
    assert (node["last_heartbeat"], node["heartbeat_timestamp"]) == (world.now_ms, world.now_ms)
    assert node["heartbeat_signed"] is True
    health = {service["service_type"]: (service["healthy"], service["last_check"]) for service in node["services"]}
    assert health == {"ledger": (True, 123), "t4": (False, None), "consensus": (None, None)}


def test_heartbeat_moves_the_address_when_the_body_is_signed(world: World) -> None:
    world.admit()
    world.beat(ip="100.64.0.99")
    assert world.get_node()["tailscale_ip"] == "100.64.0.99"
    assert world.call("GET", "/validators/active")[1]["validators"][0]["wsUrl"] == "ws://100.64.0.99:9000"


def test_heartbeat_of_an_older_client_is_accepted(world: World) -> None:
    world.admit()
    body = make_unsigned_body(build_heartbeat(make_key("validator-0"), "validator-0", world.now_ms))
    assert world.call("POST", "/heartbeat", body)[0] == 200
    assert world.get_node()["heartbeat_signed"] is False


def test_invalid_heartbeat_of_unknown_node(world: World) -> None:
    assert world.beat()[0] == 404


def test_invalid_heartbeat_of_pending_node(world: World) -> None:
    world.register()
    status, answer = world.beat()
    assert (status, answer["code"]) == (403, "not_approved")


@pytest.mark.parametrize("lead_ms", [-MINUTE_MS - 1, MINUTE_MS + 1])
def test_invalid_heartbeat_outside_the_clock_window(world: World, lead_ms: int) -> None:
    world.admit()
    body = build_heartbeat(make_key("validator-0"), "validator-0", world.now_ms + lead_ms)
    status, answer = world.call("POST", "/heartbeat", body)
    assert (status, answer["code"], answer["field"]) == (400, "clock_window", "timestamp")


@pytest.mark.parametrize("lead_ms", [-MINUTE_MS, MINUTE_MS])
def test_heartbeat_at_the_edge_of_the_clock_window(world: World, lead_ms: int) -> None:
    world.admit()
    body = build_heartbeat(make_key("validator-0"), "validator-0", world.now_ms + lead_ms)
    assert world.call("POST", "/heartbeat", body)[0] == 200


def test_silent_node_goes_offline_by_the_clock_of_the_mesh(world: World) -> None:
    world.admit()
    world.service.check_liveness(world.now_ms)
    # The node's clock is as far ahead as may be: that buys it no time.
    body = build_heartbeat(make_key("validator-0"), "validator-0", world.now_ms + MINUTE_MS)
    assert world.call("POST", "/heartbeat", body)[0] == 200
    world.service.check_liveness(world.now_ms + OFFLINE_AFTER_MS - 1)
    assert world.get_node()["status"] == "active"
    told = world.service.check_liveness(world.now_ms + OFFLINE_AFTER_MS)
    assert [(event.type, event.data["from"], event.data["to"]) for event in told] == [("status", "active", "offline")]
    assert world.get_node()["status"] == "offline"
    assert world.call("GET", "/topology")[1] == {"nodes": []}


def test_approved_node_that_never_beats_goes_offline(world: World) -> None:
    world.service.check_liveness(world.now_ms)
    world.now_ms += 10 * OFFLINE_AFTER_MS
    world.admit()
    world.service.check_liveness(world.now_ms + OFFLINE_AFTER_MS - 1)
    assert world.get_node()["status"] == "active"
    world.service.check_liveness(world.now_ms + OFFLINE_AFTER_MS)
    assert world.get_node()["status"] == "offline"


def test_time_that_the_mesh_was_down_is_not_held_against_nodes(world: World) -> None:
    world.admit()
    world.beat()
    world.now_ms += 10 * OFFLINE_AFTER_MS
    world.restart()
    world.service.check_liveness(world.now_ms)
    assert world.get_node()["status"] == "active"
    world.service.check_liveness(world.now_ms + OFFLINE_AFTER_MS)
    assert world.get_node()["status"] == "offline"


def test_further_sovereign_may_decide(world: World) -> None:
    second = make_key("second sovereign")
    body = build_sovereign_addition(SOVEREIGN, second.public_text)
    assert world.call("POST", "/sovereign/add", body) == (201, {"success": True, "publicKey": second.public_text})
    assert world.call("POST", "/sovereign/add", body)[0] == 200
    world.register()
    assert world.approve(sovereign=second)[0] == 200
    assert world.get_node()["approved_by"] == second.public_text
    assert world.call("GET", "/info")[1]["sovereigns"] == [SOVEREIGN.public_text, second.public_text]


def test_sovereign_verify(world: World) -> None:
    signature = SOVEREIGN.sign_text("hello \ud83d\ude00")
    key = SOVEREIGN.public_text

    def ask(**body: str) -> tuple[bool, str | None]:
        status, answer = world.call("POST", "/sovereign/verify", body)
        assert status == 200
        return answer["valid"], answer["publicKey"]

    assert ask(message="hello \ud83d\ude00", signature=signature) == (True, key)
    assert ask(message="hello \ud83d\ude00", signature=signature, publicKey=key) == (True, key)
    assert ask(message="other", signature=signature) == (False, None)
    assert ask(message="hello", signature="nonsense", publicKey=key) == (False, key)
    other = make_key("other")
    assert ask(message="x", signature=other.sign_text("x"), publicKey=other.public_text) == (False, other.public_text)


def test_genesis_once_and_the_same_again(world: World) -> None:
    status, answer = world.call("GET", "/genesis")
    assert (status, answer["code"]) == (404, "no_genesis")
    signed = make_genesis()
    answer = {"success": True, "chainId": signed.chain_id.hex()}
    assert world.call("PUT", "/genesis", signed.to_json()) == (201, answer)
    assert world.call("PUT", "/genesis", signed.to_json()) == (200, answer)
    assert world.call("GET", "/genesis") == (200, signed.to_json())
    assert world.list_told("genesis") == [{"chainId": signed.chain_id.hex()}]


def test_invalid_second_genesis(world: World) -> None:
    world.call("PUT", "/genesis", make_genesis().to_json())
    status, answer = world.call("PUT", "/genesis", make_genesis(created_ms=1).to_json())
    assert (status, answer["code"]) == (409, "genesis_exists")
    assert world.call("GET", "/genesis")[1] == make_genesis().to_json()


def test_invalid_genesis_signature(world: World) -> None:
    body = make_genesis().to_json() | {"signature": SOVEREIGN.sign_text("something else")}
    assert world.call("PUT", "/genesis", body)[0] == 401
    assert world.call("GET", "/genesis")[0] == 404


def test_invalid_genesis_by_no_sovereign(world: World) -> None:
    assert world.call("PUT", "/genesis", make_genesis(make_key("impostor")).to_json())[0] == 403


def test_invalid_genesis_body(world: World) -> None:
    signed = make_genesis().to_json()
    bodies: list[Any] = [None, [], {}, {"genesis": {}}, signed | {"more": 1}, signed | {"genesis": {"\ud800": 1}}]
    for body in bodies:
        assert world.call("PUT", "/genesis", body)[0] == 400


def test_statuses_are_listed_apart_and_together(world: World) -> None:
    for name in ("n0", "n1", "n2", "n3"):
        world.register(name)
    world.service.check_liveness(world.now_ms)
    for name in ("n1", "n2"):
        world.approve(name)
    world.deny("n3")
    world.service.check_liveness(world.now_ms + OFFLINE_AFTER_MS - 1)
    world.now_ms += OFFLINE_AFTER_MS - 1
    world.beat("n2")
    world.service.check_liveness(world.now_ms)

    def list_ids(**query: str) -> list[str]:
        return [node["id"] for node in world.call("GET", "/nodes", **query)[1]["nodes"]]

    assert list_ids() == ["n2"]
    assert list_ids(status="pending") == ["n0"]
    assert list_ids(status="offline") == ["n1"]
    assert list_ids(status="denied") == ["n3"]
    assert list_ids(status="all") == ["n0", "n1", "n2", "n3"]
    assert world.call("GET", "/info")[1]["nodes"] == {"pending": 1, "active": 1, "offline": 1, "denied": 1}


def test_invalid_status_filter(world: World) -> None:
    status, answer = world.call("GET", "/nodes", status="activ\ud800")
    assert (status, answer["field"]) == (400, "status")


def test_topology_and_validators(world: World) -> None:
    world.admit()
    world.register("waiting")
    body = make_registration()
    assert world.call("GET", "/topology")[1]["nodes"] == [
        {
            "id": "validator-0",
            "publicKey": body["publicKey"],
            "tailscaleHostname": "validator-0.local.ts.net",
            "tailscaleIP": "100.64.0.7",
            "services": body["services"],
        }
    ]
    world.beat()
    assert world.call("GET", "/validators/active")[1]["validators"] == [
        {
            "id": "validator-0",
            "publicKey": body["publicKey"],
            "wsUrl": "ws://100.64.0.7:9000",
            "lastSeen": world.now_ms,
        }
    ]


@pytest.mark.parametrize(
    ("ip", "hostname", "url"),
    [("fd7a::1", "a.ts.net", "ws://[fd7a::1]:9000"), (None, "a.ts.net.", "ws://a.ts.net:9000")],
)
def test_validator_address(world: World, ip: str | None, hostname: str, url: str) -> None:
    key = make_key("validator-0")
    body = make_unsigned_body(make_registration()) | {"tailscaleHostname": hostname, "tailscaleIP": ip}
    body["signature"] = key.sign_text(
        f'{{"nodeId":"validator-0","publicKey":"{key.public_text}","tailscaleHostname":"{hostname}"}}'
    )
    assert world.call("POST", "/register", sign_body_again(body, key))[0] == 201
    world.approve()
    assert world.call("GET", "/validators/active")[1]["validators"][0]["wsUrl"] == url


def test_node_without_consensus_is_no_validator(world: World) -> None:
    body = make_unsigned_body(make_registration())
    body["services"] = body["services"][:1]
    world.call("POST", "/register", body)
    world.approve()
    assert world.call("GET", "/validators/active")[1] == {"validators": []}
