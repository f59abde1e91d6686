"""The application over real HTTP requests: bodies, bounds, shapes of errors, documentation."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from starlette.types import Message

from tana.client.registration import build_approval, build_heartbeat
from tana.mesh.app import create_app
from tana.mesh.memory import MemoryStore
from tana.mesh.service import ROUTES, MeshService
from tana.types.genesis import parse_signed_genesis
from tests.mesh.helpers import SOVEREIGN, START_MS, make_genesis, make_key, make_registration

MAX_BODY_BYTES = 4096


def make_app() -> Any:
    service = MeshService(MemoryStore(), SOVEREIGN.public_text)
    return create_app(service, max_body_bytes=MAX_BODY_BYTES, clock=lambda: START_MS)


def exchange(talk: Callable[[httpx.AsyncClient], Awaitable[None]]) -> None:
    """Let `talk` speak HTTP with a new application, in this thread."""

    async def run() -> None:
        transport = httpx.ASGITransport(make_app())
        async with httpx.AsyncClient(transport=transport, base_url="http://mesh") as client:
            await talk(client)

    asyncio.run(run())


def test_the_road_of_a_node() -> None:
    async def talk(client: httpx.AsyncClient) -> None:
        answer = await client.post("/register", json=make_registration())
        assert answer.status_code == 201
        assert answer.json().keys() == {"success", "nodeId", "status", "message"}
        answer = await client.post("/approve/validator-0", json=build_approval(SOVEREIGN, "validator-0"))
        assert answer.json() == {"success": True, "nodeId": "validator-0", "status": "active"}
        beat = build_heartbeat(make_key("validator-0"), "validator-0", START_MS)
        answer = await client.post("/heartbeat", json=beat)
        assert answer.json() == {"success": True, "timestamp": START_MS}
        nodes = (await client.get("/nodes")).json()["nodes"]
        expected = {
            *("id", "public_key", "tailscale_hostname", "tailscale_ip", "status", "registered_at", "approved_at"),
            *("approved_by", "last_heartbeat", "registration_signature", "services"),
        }
        assert expected <= nodes[0].keys()
        assert {"service_type", "port", "public_key"} <= nodes[0]["services"][0].keys()
        assert (await client.get("/nodes/validator-0")).json() == {"node": nodes[0]}
        validators = (await client.get("/validators/active")).json()["validators"]
        assert validators[0].keys() == {"id", "publicKey", "wsUrl", "lastSeen"}
        assert (await client.get("/nodes", params={"status": "pending"})).json() == {"nodes": []}
        assert (await client.get("/health")).json() == {"status": "ok", "service": "mesh"}
        assert (await client.put("/genesis", json=make_genesis().to_json())).status_code == 201
        assert parse_signed_genesis((await client.get("/genesis")).json()) == make_genesis()

    exchange(talk)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff", b"NaN", b"[" * 3000, b'{"a":' * 500, b"1" * 4000, b'"\\ud800"', b"null", b"[]"],
    ids=lambda content: repr(content[:8]),
)
@pytest.mark.parametrize("path", ["/register", "/heartbeat", "/approve/a", "/sovereign/add", "/sovereign/verify"])
def test_invalid_content(path: str, content: bytes) -> None:
    async def talk(client: httpx.AsyncClient) -> None:
        answer = await client.post(path, content=content)
        assert answer.status_code == 400
        assert answer.json()["code"] in ("malformed_json", "invalid_field", "invalid_text")

    exchange(talk)


@pytest.mark.parametrize(("size", "status"), [(MAX_BODY_BYTES, 400), (MAX_BODY_BYTES + 1, 413)])
def test_invalid_too_large(size: int, status: int) -> None:
    async def talk(client: httpx.AsyncClient) -> None:
        answer = await client.post("/register", content=b" " * size)
        assert answer.status_code == status
        assert answer.json()["code"] == ("too_large" if status == 413 else "malformed_json")

    exchange(talk)


def test_invalid_too_large_without_a_length() -> None:
    async def send() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 1000

    async def talk(client: httpx.AsyncClient) -> None:
        # ASGITransport reads no more of it than the application does.
        assert (await client.post("/heartbeat", content=send())).status_code == 413

    exchange(talk)


def test_genesis_may_be_larger_than_other_bodies() -> None:
    async def talk(client: httpx.AsyncClient) -> None:
        content = json.dumps(make_genesis().to_json()).encode() + b" " * (2 * MAX_BODY_BYTES)
        assert (await client.put("/genesis", content=content)).status_code == 201

    exchange(talk)


def test_invalid_field_with_a_name_that_is_no_utf8() -> None:
    async def talk(client: httpx.AsyncClient) -> None:
        for name, code in (("\\ud800", "invalid_text"), ("\\u0000", "unknown_field"), ("<script>", "unknown_field")):
            content = json.dumps(make_registration())[:-1] + f',"{name}":1}}'
            answer = await client.post("/register", content=content)
            assert (answer.status_code, answer.json()["code"]) == (400, code)

    exchange(talk)


def test_unknown_paths_and_methods_are_answered_in_json() -> None:
    async def talk(client: httpx.AsyncClient) -> None:
        answer = await client.get("/nothing")
        assert (answer.status_code, answer.json()["code"]) == (404, "no_such_path")
        answer = await client.delete("/register")
        assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
        answer = await client.get("/nodes/%2e%2e")
        assert answer.status_code == 404

    exchange(talk)


def test_every_call_is_described() -> None:
    async def talk(client: httpx.AsyncClient) -> None:
        described = (await client.get("/openapi.json")).json()["paths"]
        for route in ROUTES:
            operation = described[route.path.replace("{id}", "{node_id}")][route.method.lower()]
            assert operation["summary"] == route.summary
            if route.body:
                schema = operation["requestBody"]["content"]["application/json"]["schema"]
                assert set(schema["properties"]) == set(route.body.__struct_fields__)
        assert "/events" in described
        assert (await client.get("/docs")).status_code == 200

    exchange(talk)


def test_the_watch_runs_with_the_application() -> None:
    """A node whose time has passed is taken offline by the background job, and a listener hears of it."""
    clock_ms = itertools.count(START_MS, 300_000)

    async def run() -> None:
        service = MeshService(MemoryStore(), SOVEREIGN.public_text)
        app = create_app(service, liveness_interval_ms=1, clock=lambda: next(clock_ms))
        offline = asyncio.Event()
        service.subscribe(lambda event: offline.set() if event.data.get("to") == "offline" else None)
        async with app.router.lifespan_context(app):
            service.handle("POST", "/register", {}, make_registration(), START_MS)
            service.handle("POST", "/approve/validator-0", {}, build_approval(SOVEREIGN, "validator-0"), START_MS)
            await offline.wait()
        assert [node.status for node in service.registry.list_nodes()] == ["offline"]

    asyncio.run(asyncio.wait_for(run(), 30))


class EventReader:
    """Reads `GET /events` from the application itself: httpx's in-process transport cannot stream."""

    def __init__(self, app: Any, headers: dict[str, str]) -> None:
        scope = {
            **{"type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1"},
            **{"method": "GET", "path": "/events", "raw_path": b"/events", "query_string": b"", "scheme": "http"},
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }
        self.messages: asyncio.Queue[Message] = asyncio.Queue()
        self._gone = asyncio.Event()
        self._task = asyncio.create_task(app(scope, self._receive, self._send))

    async def read_start(self) -> int:
        """The status; for an opened stream also its first chunk is read."""
        status: int = (await self.messages.get())["status"]
        if status == 200:
            assert b"listening" in (await self.messages.get())["body"]
        return status

    async def read(self) -> tuple[int, str, Any]:
        lines = (await self.messages.get())["body"].decode().splitlines()
        fields = dict(line.split(": ", 1) for line in lines if line)
        return int(fields["id"]), fields["event"], json.loads(fields["data"])

    async def wait_ended(self) -> None:
        await self._task

    def disconnect(self) -> None:
        self._gone.set()
        self._task.cancel()

    async def _receive(self) -> Message:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        self.messages.put_nowait(message)


def listen(talk: Callable[[Any, MeshService], Awaitable[None]]) -> None:
    async def run() -> None:
        service = MeshService(MemoryStore(), SOVEREIGN.public_text)
        await talk(create_app(service, clock=lambda: START_MS), service)

    asyncio.run(asyncio.wait_for(run(), 30))


def register(service: MeshService, name: str) -> None:
    assert service.handle("POST", "/register", {}, make_registration(name), START_MS)[0] == 201


def test_client_that_leaves_in_the_middle_is_no_error() -> None:
    """A validator that is killed while it registers: no stack trace in the mesh's log."""

    async def talk(app: Any, service: MeshService) -> None:
        scope = {
            **{"type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1"},
            **{"method": "POST", "path": "/register", "raw_path": b"/register", "query_string": b"", "scheme": "http"},
            "headers": [],
        }
        said: list[Message] = [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]

        async def receive() -> Message:
            return said.pop(0)

        async def send(message: Message) -> None:
            pass

        await app(scope, receive, send)
        assert service.handle("GET", "/nodes", {"status": "all"}, None, START_MS)[1]["nodes"] == []

    listen(talk)


def test_events_are_streamed() -> None:
    async def talk(app: Any, service: MeshService) -> None:
        register(service, "before")
        reader = EventReader(app, {})
        assert await reader.read_start() == 200
        register(service, "after")
        number, kind, data = await reader.read()
        assert (number, kind, data["nodeId"], data["at"]) == (2, "registration", "after", START_MS)
        app.state.streams.close()
        await reader.wait_ended()

    listen(talk)


def test_events_go_on_behind_the_last_one_seen() -> None:
    async def talk(app: Any, service: MeshService) -> None:
        for name in ("a", "b", "c"):
            register(service, name)
        reader = EventReader(app, {"last-event-id": "1"})
        await reader.read_start()
        register(service, "d")
        assert [(await reader.read())[2]["nodeId"] for _ in range(3)] == ["b", "c", "d"]
        app.state.streams.close()
        await reader.wait_ended()

    listen(talk)


def test_events_that_are_gone_are_said_to_be_gone() -> None:
    async def talk(app: Any, service: MeshService) -> None:
        register(service, "a")
        reader = EventReader(app, {"last-event-id": "77"})
        await reader.read_start()
        assert await reader.read() == (1, "reset", {})
        app.state.streams.close()
        await reader.wait_ended()

    listen(talk)


def test_a_listener_that_does_not_read_is_cut_off() -> None:
    async def talk(app: Any, service: MeshService) -> None:
        reader = EventReader(app, {})
        await reader.read_start()
        # Nothing is read while these happen: the event loop gets no turn.
        for number in range(1100):
            register(service, f"n{number}")
        await reader.wait_ended()
        register(service, "later")

    listen(talk)


def test_a_listener_that_goes_away_is_forgotten() -> None:
    async def talk(app: Any, service: MeshService) -> None:
        reader = EventReader(app, {})
        await reader.read_start()
        reader.disconnect()
        with pytest.raises(asyncio.CancelledError):
            await reader.wait_ended()
        assert not app.state.streams.count_open()

    listen(talk)


def test_invalid_too_many_streams() -> None:
    async def talk(app: Any, service: MeshService) -> None:
        readers = [EventReader(app, {}) for _ in range(64)]
        for reader in readers:
            assert await reader.read_start() == 200
        assert await EventReader(app, {}).read_start() == 429
        app.state.streams.close()
        for reader in readers:
            await reader.wait_ended()

    listen(talk)


@pytest.mark.parametrize("text", ["x", "-1", "1.5", "9" * 17, "\u0661"])
def test_invalid_last_event_id(text: str) -> None:
    async def talk(app: Any, service: MeshService) -> None:
        assert await EventReader(app, {"last-event-id": text}).read_start() == 400

    listen(talk)
