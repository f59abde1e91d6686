"""The mesh's client against a real application, and against answers that other meshes give."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
import uvicorn

from tana.client.mesh import MeshClient, parse_events
from tana.client.registration import build_heartbeat
from tana.mesh.app import create_app
from tana.mesh.memory import MemoryStore
from tana.mesh.server import open_listener
from tana.mesh.service import MeshService
from tana.types import canonical
from tana.types.errors import Conflict, Forbidden, InvalidInput, NotFound, Unauthorized, Unavailable
from tests.mesh.helpers import SOVEREIGN, START_MS, make_genesis, make_key, make_registration, make_unsigned_body


@pytest.fixture
def client() -> Iterator[MeshClient]:
    """A client of a new mesh that runs in a thread."""
    service = MeshService(MemoryStore(), SOVEREIGN.public_text)
    app = create_app(service, clock=lambda: START_MS)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, ws="none"))
    listener = open_listener("127.0.0.1", 0)
    thread = threading.Thread(target=lambda: server.run(sockets=[listener]))
    thread.start()
    with MeshClient(f"http://127.0.0.1:{listener.getsockname()[1]}/") as client:
        yield client
    app.state.streams.close()
    server.should_exit = True
    thread.join()
    listener.close()


def test_the_road_of_a_node(client: MeshClient) -> None:
    assert client.register(make_registration("a"))["status"] == "pending"
    assert [node.id for node in client.list_nodes("pending")] == ["a"]
    assert client.approve("a", SOVEREIGN)["status"] == "active"
    consensus = {"height": 3, "blockHash": None, "stateRoot": "ab" * 32, "state": "validating"}
    services = [{"type": "t4", "healthy": True, "lastCheck": 7}]
    beat = build_heartbeat(make_key("a"), "a", START_MS, "100.64.0.9", services, consensus=consensus)
    assert client.heartbeat(beat)["success"]
    node = client.get_node("a")
    assert (node.status, node.tailscale_ip, node.consensus, node.heartbeat_signed) == (
        "active",
        "100.64.0.9",
        consensus,
        True,
    )
    t4 = node.get_service("t4")
    assert t4 is not None
    assert (t4.port, t4.healthy, t4.last_check) == (8180, True, 7)
    assert node.get_service("identity") is None
    assert client.get_topology()[0]["id"] == "a"
    assert client.get_active_validators()[0]["wsUrl"] == "ws://100.64.0.9:9000"
    assert client.deny("a", SOVEREIGN)["status"] == "denied"
    assert [node.status for node in client.list_all_nodes()] == ["denied"]
    assert client.get_health()["status"] == "ok"
    assert client.get_info()["nodes"]["denied"] == 1


def test_genesis(client: MeshClient) -> None:
    assert client.get_genesis() is None
    signed = make_genesis()
    assert client.put_genesis(signed)["chainId"] == signed.chain_id.hex()
    assert client.get_genesis() == signed
    with pytest.raises(Conflict, match="there is a genesis already"):
        client.put_genesis(make_genesis(created_ms=1))


def test_sovereigns(client: MeshClient) -> None:
    second = make_key("second")
    assert client.add_sovereign(second.public_text, SOVEREIGN)["success"]
    assert client.verify_sovereign("text", second.sign_text("text")) == {
        "valid": True,
        "publicKey": second.public_text,
    }
    assert not client.verify_sovereign("text", "no signature", second.public_text)["valid"]


def test_registering_again_is_found_to_be_done(client: MeshClient) -> None:
    body = make_registration("a")
    assert client.ensure_registered(body).status == "pending"
    client.approve("a", SOVEREIGN)
    assert client.ensure_registered(body).status == "active"


@pytest.mark.parametrize("change", ["key", "services", "hostname"])
def test_invalid_registering_again_as_something_else(client: MeshClient, change: str) -> None:
    client.register(make_registration("a"))
    other = make_unsigned_body(make_registration("a", make_key("other") if change == "key" else None))
    if change == "services":
        other["services"] = other["services"][:1]
    if change == "hostname":
        key = make_key("a")
        other["tailscaleHostname"] = "elsewhere"
        other["signature"] = key.sign_text(
            canonical.dumps({name: other[name] for name in ("nodeId", "publicKey", "tailscaleHostname")})
        )
    with pytest.raises(Conflict) as caught:
        client.ensure_registered(other)
    assert caught.value.code == "already_registered"


def test_invalid_key_registered_under_another_id(client: MeshClient) -> None:
    client.register(make_registration("a"))
    with pytest.raises(Conflict, match="registered already, as a"):
        client.ensure_registered(make_registration("b", make_key("a")))


def test_errors_are_the_classes_of_their_status(client: MeshClient) -> None:
    client.register(make_registration("a"))
    with pytest.raises(NotFound) as not_found:
        client.approve("nobody?", SOVEREIGN)
    assert not_found.value.remedy
    with pytest.raises(Forbidden):
        client.approve("a", make_key("a"))
    with pytest.raises(InvalidInput) as invalid:
        client.register(make_registration("b") | {"colour": 1})
    assert (invalid.value.code, invalid.value.field) == ("unknown_field", "colour")
    with pytest.raises(Unauthorized):
        client.register(make_registration("b") | {"signature": "ed25519_sig_" + "0" * 128})
    assert client.find_node("b") is None


def test_events(client: MeshClient) -> None:
    for name in ("a", "b"):
        client.register(make_registration(name))
    events = client.stream_events(last_event_id=1)
    event = next(events)
    assert (event.id, event.type, event.data["nodeId"]) == (2, "registration", "b")
    client.approve("a", SOVEREIGN)
    assert [next(events).type for _ in range(2)] == ["approval", "status"]
    events.close()  # type: ignore[attr-defined]


def test_invalid_event_id(client: MeshClient) -> None:
    with pytest.raises(InvalidInput):
        next(client.stream_events(last_event_id=-1))


def test_parse_events() -> None:
    lines = [
        "retry: 1000",
        ": listening",
        "",
        "id: 7",
        "event: status",
        'data: {"a":1}',
        "",
        ": still here",
        "",
        "id: 8",
    ]
    assert [(event.id, event.type, event.data) for event in parse_events(iter(lines))] == [(7, "status", {"a": 1})]


def test_invalid_nobody_listens() -> None:
    with open_listener("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
    with MeshClient(f"http://127.0.0.1:{port}") as client, pytest.raises(Unavailable) as caught:
        client.get_health()
    assert f"127.0.0.1:{port}" in caught.value.message
    assert "tana mesh serve" in caught.value.remedy
    with MeshClient(f"http://127.0.0.1:{port}") as client, pytest.raises(Unavailable):
        next(client.stream_events())


@pytest.mark.parametrize("url", ["", "localhost:8190", "ftp://a", "http://", "http://a:b"])
def test_invalid_url(url: str) -> None:
    with pytest.raises(InvalidInput):
        MeshClient(url)


def serve_answers(answers: dict[str, tuple[int, Any]]) -> tuple[HTTPServer, threading.Thread]:
    """A server that answers each path with a fixed status and text (or JSON value)."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, content = answers[self.path]
            data = (content if isinstance(content, str) else canonical.dumps(content)).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    return server, thread


@pytest.fixture
def other_mesh() -> Iterator[MeshClient]:
    """A mesh that lists one status at a time, prints times as text and knows no codes."""

    def make_node(name: str, status: str) -> dict[str, Any]:
        return {
            "id": name,
            "public_key": "k",
            "tailscale_hostname": name,
            "tailscale_ip": None,
            "status": status,
            "registered_at": "2024-01-01 00:00:00",
            "last_heartbeat": None,
            "services": [{"id": 1, "service_type": "ledger", "port": 8080, "public_key": "k", "healthy": 1}],
            "unheard_of": True,
        }

    answers: dict[str, tuple[int, Any]] = {
        "/nodes?status=all": (200, {"nodes": []}),
        "/nodes?status=pending": (200, {"nodes": [make_node("a", "pending"), make_node("b", "pending")]}),
        "/nodes?status=active": (200, {"nodes": [make_node("b", "active")]}),
        "/nodes?status=offline": (200, {"nodes": []}),
        "/nodes?status=denied": (200, {"nodes": [make_node("c", "denied")]}),
        "/nodes/x": (404, {"error": "Node not found"}),
        "/topology": (500, "<html>oops</html>"),
        "/info": (200, "<html>hello</html>"),
        "/nodes/odd": (200, {"node": {"id": 5}}),
        "/health": (418, {"message": "short and stout"}),
    }
    server, thread = serve_answers(answers)
    with MeshClient(f"http://127.0.0.1:{server.server_port}") as client:
        yield client
    server.shutdown()
    thread.join()
    server.server_close()


def test_all_nodes_of_a_mesh_that_lists_one_status_at_a_time(other_mesh: MeshClient) -> None:
    assert {node.id: node.status for node in other_mesh.list_all_nodes()} == {
        "a": "pending",
        "b": "active",
        "c": "denied",
    }


def test_errors_of_another_mesh(other_mesh: MeshClient) -> None:
    with pytest.raises(NotFound, match="Node not found"):
        other_mesh.get_node("x")
    with pytest.raises(Unavailable, match="status 500"):
        other_mesh.get_topology()
    with pytest.raises(Unavailable, match="not as a Tana mesh"):
        other_mesh.get_info()
    with pytest.raises(Unavailable, match="not as a Tana mesh"):
        other_mesh.get_node("odd")
    with pytest.raises(InvalidInput, match="short and stout") as caught:
        other_mesh.get_health()
    assert caught.value.http_status == 418
